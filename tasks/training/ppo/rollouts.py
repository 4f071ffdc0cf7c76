"""Rollouts: the policy answers prompts, a scorer judges, and each token's numbers are noted."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from tasks.data.groups import Group, finished
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import group_tokens, split_group
from tasks.models.sample_shards import answered
from tasks.models.sampling import generation
from tasks.models.scoring.scorers import Scorer
from tasks.models.tokens.encoding import EncodedGroup, vocabulary_of
from tasks.settings.errors import StageError
from tasks.training.data.micro_batches import share_out
from tasks.training.data.selection import Encoder
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
        reference: GroupPolicy,
        scorer: Scorer,
        encoder: Encoder,
        config: PpoConfig,
        seed: int,
    ) -> None:
        """Say who draws and who judges; the reference is frozen, on the actor's device."""
        self._models, self._reference, self._scorer = models, reference, scorer
        self._encoder, self._config, self._seed = encoder, config, seed
        self._vocabulary = vocabulary_of(encoder.tokenizer, encoder.template)

    def draw(self, prompts: Sequence[Group], step: int) -> list[list[Experience]]:
        """Let the policy answer a step's prompts, and note what is known of every token.

        Returns:
            The experience of each minibatch, each in as few forward passes as its tokens need;
            credit is not assigned yet.

        Raises:
            StageError: A score is not finite, or the policy's logits are not.
        """
        groups = self._answer(prompts, step)
        scores = self._scorer.score(groups)
        _refuse_broken(groups, scores, step)
        pieces = [list(self._pieces(group, row)) for group, row in zip(groups, scores, strict=True)]
        order = list(range(len(groups)))
        # A text seed goes through sha512: the same order in every process and Python version.
        random.Random(f"{self._seed}/minibatches/{step}").shuffle(order)
        count = self._config.minibatches
        parts = [
            order[n * len(order) // count : (n + 1) * len(order) // count] for n in range(count)
        ]
        return [self._noted([piece for index in part for piece in pieces[index]]) for part in parts]

    def _answer(self, prompts: Sequence[Group], step: int) -> list[Group]:
        policy, encoder, config = self._models.policy, self._encoder, self._config
        # In fp32, as the weights are: casting them at each of many small steps costs more than it
        # saves.
        with policy.with_own_attention() as model:
            drawn = generation.sample(
                model,
                encoder.tokenizer,
                encoder.template,
                [group.prompt for group in prompts],
                config.sampling(),
                self._seed,
                shard=step,
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
        passes = share_out(sizes, self._config.micro_batch_tokens, 1)[0]
        return [self._experience([pieces[item] for item in items]) for items in passes if items]

    def _experience(self, pieces: Sequence[_Piece]) -> Experience:
        models, pad_id = self._models, self._encoder.pad_id
        device = models.of_actor.device
        groups = [piece.group for piece in pieces]
        of_actor = models.policy.batch(groups, pad_id).to(device)
        of_critic = models.critic.batch(groups, pad_id).to(device)
        of_reference = self._reference.batch(groups, pad_id).to(device)
        with torch.no_grad(), models.of_actor.arithmetic():
            logps = models.policy.token_logps(of_actor)
            reference_logps = self._reference.token_logps(of_reference)
            values = models.critic(of_critic)
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
