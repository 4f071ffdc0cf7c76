"""Rollouts: the policy answers prompts, a scorer judges, and each token's numbers are noted."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from tasks.data.groups import Group, finished
from tasks.models.groups.packing import group_tokens, split_group
from tasks.models.sample_shards import answered
from tasks.models.sampling import generation
from tasks.models.scoring.scorers import Scorer
from tasks.models.tokens.encoding import EncodedGroup, vocabulary_of
from tasks.settings.errors import StageError
from tasks.training.data.micro_batches import share_out
from tasks.training.data.selection import Encoder
from tasks.training.distributed import ranks
from tasks.training.ppo.actor_critic import ActorCritic
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.experience import Experience


class _Piece(NamedTuple):
    """A prompt with as many of its responses as one forward pass takes; mostly with all."""

    group: EncodedGroup
    """Their tokens."""
    scores: list[float]
    """One per response."""
    ended: list[bool]
    """One per response."""


class Rollouts:
    """Draws the experience of each step; the same for the same seed, step and weights."""

    def __init__(
        self,
        models: ActorCritic,
        scorer: Scorer,
        encoder: Encoder,
        config: PpoConfig,
        seed: int,
    ) -> None:
        """Say who draws and who judges."""
        self._models, self._scorer = models, scorer
        self._encoder, self._config, self._seed = encoder, config, seed
        self._vocabulary = vocabulary_of(encoder.tokenizer, encoder.template)

    def draw(self, prompts: Sequence[Group], step: int) -> list[list[Experience]]:
        """Let the policy answer a step's prompts, and note what is known of every token.

        Each rank draws and judges its share of the responses, and takes its share of the passes
        over all of them.

        Returns:
            The experience of each minibatch, each in as few forward passes as its tokens need;
            credit is not assigned yet.

        Raises:
            StageError: A score is not finite, or the policy's logits are not.
        """
        found: list[tuple[Group, list[float]]] = []
        with self._models.of_actor.whole():
            error = ranks.error_of(lambda: found.extend(self._own_share(prompts, step)))
        ranks.agree(error)
        answers: list[Any] = [None] * len(prompts)
        for rank, share in enumerate(ranks.gather(found)):
            answers[rank :: ranks.world_size()] = share
        groups, scores = map(list, zip(*answers, strict=True))
        pieces = [list(self._pieces(group, row)) for group, row in zip(groups, scores, strict=True)]
        order = list(range(len(groups)))
        # A text seed goes through sha512: the same order in every process and Python version.
        random.Random(f"{self._seed}/minibatches/{step}").shuffle(order)
        count = self._config.minibatches
        parts = [
            order[n * len(order) // count : (n + 1) * len(order) // count] for n in range(count)
        ]
        return [self._noted([piece for index in part for piece in pieces[index]]) for part in parts]

    def _own_share(
        self, prompts: Sequence[Group], step: int
    ) -> Iterator[tuple[Group, list[float]]]:
        """Answer this rank's share of the prompts and score what it answered."""
        places = range(len(prompts))[ranks.rank() :: ranks.world_size()]
        groups = self._answer([prompts[place] for place in places], places, step)
        scores = self._scorer.score(groups)
        _refuse_broken(groups, scores, step)
        return zip(groups, scores, strict=True)

    def _answer(self, prompts: Sequence[Group], places: range, step: int) -> list[Group]:
        policy, encoder, config = self._models.policy, self._encoder, self._config
        # Trained weights are fp32, and casting them at each of many small steps costs more than it
        # saves. Where few are trained, the others are kept in bf16 already.
        partly = config.lora is not None or config.trainable_layers is not None
        arithmetic = self._models.of_actor.arithmetic() if partly else nullcontext()
        with arithmetic, policy.with_own_attention() as model:
            drawn = generation.sample(
                model,
                encoder.tokenizer,
                encoder.template,
                [group.prompt for group in prompts],
                config.sampling(),
                self._seed,
                shard=step,
                places=places,
                max_prompt_tokens=config.limits.max_prompt_tokens,
            )
        return [
            answered(group, found, self._vocabulary)
            for group, found in zip(prompts, drawn, strict=True)
        ]

    def _pieces(self, group: Group, scores: list[float]) -> Iterator[_Piece]:
        ended, first = finished(group), 0
        for part in split_group(self._encoder.encode(group), self._config.micro_batch_tokens):
            stop = first + len(part.responses_ids)
            yield _Piece(part, scores[first:stop], list(ended[first:stop]))
            first = stop

    def _noted(self, pieces: Sequence[_Piece]) -> list[Experience]:
        """Compute a minibatch's log-probabilities and values as its learning will compute them.

        In the same passes the ratio to the old policy is exactly 1 at first, down to the rounding.
        """
        shared = self._models.policy.shared and self._models.critic.shared
        sizes = [group_tokens(piece.group, shared=shared) for piece in pieces]
        shares = share_out(sizes, self._config.micro_batch_tokens, ranks.world_size())
        smallest = pieces[sizes.index(min(sizes))]
        return [
            self._experience([pieces[item] for item in items] or [smallest], counts=bool(items))
            for items in shares[ranks.rank()]
        ]

    def _experience(self, pieces: Sequence[_Piece], *, counts: bool) -> Experience:
        models, pad_id = self._models, self._encoder.pad_id
        device = models.of_actor.device
        groups = [piece.group for piece in pieces]
        of_actor = models.policy.batch(groups, pad_id).to(device)
        of_critic = models.critic.batch(groups, pad_id).to(device)
        with torch.no_grad(), models.of_actor.arithmetic():
            logps = models.of_actor.model(of_actor)
            reference_logps = models.reference_logps(groups, pad_id)
            values = models.of_critic.model(of_critic)
        lengths = [len(ids) for group in groups for ids in group.responses_ids]
        scores = [score for piece in pieces for score in piece.scores]
        ended = [flag for piece in pieces for flag in piece.ended]
        return Experience(
            of_actor,
            of_critic,
            torch.tensor(lengths, device=device),
            torch.tensor(scores, device=device, dtype=torch.float32),
            torch.tensor(ended, device=device),
            logps,
            reference_logps,
            values,
            advantages=logps.new_zeros(0),
            returns=logps.new_zeros(0),
            counts=counts,
        )


class PromptOrder:
    """The prompts in an order without end: pass after pass over all, each in an order of its own.

    Example:
        >>> order = PromptOrder(3, seed=0)
        >>> sorted(order.take(0, 3)), len(order.take(2, 5))
        ([0, 1, 2], 5)
    """

    def __init__(self, count: int, seed: int) -> None:
        """Fix the order of so many prompts, at least 1."""
        self._count, self._seed = count, seed

    def take(self, cursor: int, count: int) -> list[int]:
        """Return the `count` prompts that come after the first `cursor` ones."""
        first, last = cursor // self._count, (cursor + count - 1) // self._count
        numbers = [n for turn in range(first, last + 1) for n in self._turn(turn)]
        start = cursor - first * self._count
        return numbers[start : start + count]

    def _turn(self, turn: int) -> list[int]:
        order = list(range(self._count))
        random.Random(f"{self._seed}/prompts/{turn}").shuffle(order)
        return order


def _refuse_broken(groups: Sequence[Group], scores: Sequence[Sequence[float]], step: int) -> None:
    for group, row in zip(groups, scores, strict=True):
        if not all(map(math.isfinite, row)):
            raise StageError(
                f"PPO step {step + 1}: the scorer gives a response to the prompt {group.title} the "
                f"score {next(s for s in row if not math.isfinite(s))}: a finite number is needed"
            )
