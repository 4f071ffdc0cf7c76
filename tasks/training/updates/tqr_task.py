"""What a step of a TQR's training minimises: AVA's losses and those of its baselines, on groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tasks.models.groups.group_model import Batch
from tasks.models.groups.packing import group_tokens
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tqr.endings import closed, ended_slots, has_ended
from tasks.models.tqr.group_tqr import TqrOutput
from tasks.models.tqr.response_rewards import response_rewards
from tasks.objectives.ava import AvaTerms, ava_d, cer
from tasks.objectives.ava_diagnostics import share_floored, td_quantiles
from tasks.objectives.response_scores import TokenRewards, preference_transformer
from tasks.objectives.reward import bradley_terry
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.gold_games import APO
from tasks.training.task import MicroBatch, TrainingTask
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.training.updates.tqr_pairs import (
    KINDS,
    Pairs,
    add_counts,
    ava_p_of_pairs,
    denominators,
    pairs_of,
    positions_of,
)

GROUPS = "groups"
"""The data set that every training has; the other one is D_APO, gold against samples."""

_PARTS = {"likelihood": "beta", "kl": "c_kl", "td": "lam"}
"""The terms of AVA's losses, and the weight of each: with no other weight a loss is that term."""

Loss = Callable[[AvaTerms, Mapping[str, float]], Tensor]


@dataclass
class TqrTask(TrainingTask):
    """One of a TQR's objectives on one or two sets of groups, each with means of its own.

    B groups, K responses, T positions.
    """

    sets: Mapping[str, EncodedFolder]
    """What is learnt from: `groups`, and `apo` too; responses that were cut have no end yet."""
    config: TqrUpdateConfig
    """The objective and its weights."""
    end: int
    """EOS of the tokenizer."""
    vocabulary: int
    """How many tokens the model chooses among."""
    layout: Callable[[Sequence[EncodedGroup]], Batch]
    """Puts groups into the layout that the model takes."""
    shared: bool = True
    """Whether the model computes a prompt once for all its responses."""

    def sizes(self, name: str) -> Sequence[int]:
        """Return how many tokens each group takes of a forward pass, but for appended ends."""
        return self.sets[name].sizes(shared=self.shared)

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        """Return some groups of a set, every response with an end, and which of them had theirs."""
        groups = self.sets[name]
        found = [groups.encoded(row) for row in rows]
        whole = [closed(one, self.end, self._longest) for one in found]
        return MicroBatch(
            name,
            tuple(rows),
            tuple(groups.name(row) for row in rows),
            self.layout(whole),
            groups.scores(rows),
            ended=ended_slots(found, self.end),
            tokens=sum(map(group_tokens, whole)),
        )

    def counts(self, rows: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return a step's groups, actions, IRL positions and pairs, and the actions that lose one.

        Each set has its own, by names that begin with `SET:`.
        """
        return {
            f"{name}:{what}": count
            for name, found in rows.items()
            for what, count in self._counts_of(self.sets[name], found).items()
        }

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the step's loss, a mean over tokens and over pairs."""
        output: TqrOutput = model(batch.groups, batch.ended, reads_q=self.config.is_ava)
        name, gold = batch.data_set, self.config.gold
        start = f"{name}:"
        own = {key.removeprefix(start): n for key, n in counts.items() if key.startswith(start)}
        loss, metrics = self._loss(output, batch, own)
        prefix = f"{APO}/" if name == APO else ""
        weight = gold.beta_2 if gold and name == GROUPS else 1.0
        shown = {
            f"{prefix}{metric}": weight * value if metric.startswith("loss/") else value
            for metric, value in metrics.items()
        }
        return weight * loss, shown

    def _loss(
        self, output: TqrOutput, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """A micro-batch's share of the loss of its set, before that is weighed."""
        if self.config.objective == "ava_d":
            return self._imitation(output, counts)
        assert batch.scores is not None, "micro_batch fills it in"
        pairs = pairs_of(batch.scores, batch.groups.mask)
        loss, metrics = self._of_pairs(output, pairs, counts)
        scores = response_rewards(output)
        for name, values in {"last": scores.last, "return": scores.whole}.items():
            better, worse = pairs.sides(values.detach())
            # A tie, such as all pairs are for a fresh head, is half right.
            right = ((better - worse).sign() + 1) / 2
            metrics[f"accuracy/{name}"] = float(right.sum()) / counts["pairs"]
        return loss, metrics

    def _of_pairs(
        self, output: TqrOutput, pairs: Pairs, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of an objective on pairs."""
        if self.config.is_ava:
            return self._preference(output, pairs, counts)
        rewards, weights, mask = output.rewards.mean, output.rewards.weights, output.mask
        if self.config.objective == "bradley_terry":
            losses = bradley_terry(*pairs.sides(response_rewards(output).last))
        else:
            parts = [pairs.sides(part) for part in (rewards, weights, mask)]
            sides = (TokenRewards(*side) for side in zip(*parts, strict=True))
            losses = preference_transformer(*sides)
        return losses.sum() / counts["pairs"], {}

    def _imitation(
        self, output: TqrOutput, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of AVA-d."""
        given = self.config.ava
        positions = {"all": {name: Fraction(counts[name]) for name in KINDS}}
        step, scale = denominators(positions, given.reduction, counts["groups"])

        def loss(terms: AvaTerms, weights: Mapping[str, float], irl: str) -> Tensor:
            rows = (part.flatten(0, 1) for part in terms)
            sizes = {"actions": float(step["all"]["actions"]), "irl": float(step["all"][irl])}
            return scale * ava_d(*rows, gamma=given.gamma, counts=sizes, **weights)

        whole = self._with_prior(loss, output.terms.action_mask)
        return self._ava(whole, self._terms(output), self._weights, counts)

    def _preference(
        self, output: TqrOutput, pairs: Pairs, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of AVA-p, with its contrast."""
        given, terms = self.config.ava, self._terms(output)
        weights = self._weights | {"b_neg": given.b_neg}
        switches = {
            "gamma": given.gamma,
            "irl_on": given.irl_on,
            "neg_guard": given.neg_guard,
            "vocab_size": self.vocabulary,
        }
        step, scale = denominators(positions_of(counts), given.reduction, counts["groups"])

        def loss(terms: AvaTerms, weights: Mapping[str, float], irl: str) -> Tensor:
            return scale * ava_p_of_pairs(terms, pairs, step, irl, **switches, **weights)

        whole = self._with_prior(loss, output.terms.action_mask)
        found, metrics = self._ava(whole, terms, weights, counts)
        likelihoods = weights | {"lam": 0.0, "c_kl": 0.0}
        both = whole(_still(terms), likelihoods).item()
        metrics["loss/likelihood_rejected"] = both - metrics["loss/likelihood"]
        last = response_rewards(output).last
        contrast = given.c_cer * cer(*pairs.sides(last), link=given.cer_link).sum()
        contrast = contrast / counts["pairs"]
        metrics["loss/cer"] = contrast.item()
        loses = torch.zeros_like(pairs.shared, dtype=torch.bool)
        loses[pairs.group, pairs.rejected] = True
        real = terms.action_mask & loses.unsqueeze(-1)
        floored = share_floored(terms.log_lik, real, vocab_size=self.vocabulary)
        metrics["floored"] = float(floored) * int(real.sum()) / counts["rejected"]
        return found + contrast, metrics

    def _ava(
        self,
        loss: Loss,
        terms: AvaTerms,
        weights: Mapping[str, float],
        counts: dict[str, int],
    ) -> tuple[Tensor, dict[str, float]]:
        """A loss of AVA's, its terms, the median |δ| and the mean σ."""
        still, off = _still(terms), dict.fromkeys(weights, 0.0)
        metrics = {
            f"loss/{part}": loss(still, off | {key: weights[key]}).item()
            for part, key in _PARTS.items()
        }
        real = still.irl_mask
        if here := int(real.sum()):
            td = still.q - self.config.ava.gamma * still.q_next
            found = {
                "td/median": td_quantiles(td, real, levels=[0.5])[0],
                "reward_std": still.log_std[real].exp().mean(),
            }
            metrics |= {name: float(value) * here / counts["irl"] for name, value in found.items()}
        return loss(terms, weights), metrics

    def _with_prior(
        self, loss: Callable[[AvaTerms, Mapping[str, float], str], Tensor], actions: Tensor
    ) -> Loss:
        """A loss with its prior, which over all actions is a term of its own."""

        def apart(terms: AvaTerms, weights: Mapping[str, float]) -> Tensor:
            prior = dict.fromkeys(weights, 0.0) | {"c_kl": weights["c_kl"]}
            rest = loss(terms, {**weights, "c_kl": 0.0}, "irl")
            return rest + loss(terms._replace(irl_mask=actions), prior, "kl")

        if self.config.ava.kl_range == "actions":
            return apart
        return lambda terms, weights: loss(terms, weights, "irl")

    def _terms(self, output: TqrOutput) -> AvaTerms:
        terms = output.terms
        actions, irl = terms.action_mask, terms.irl_mask
        if self.config.ava.strict_sum:
            actions = irl
        if self.config.ava.terminal_td:
            # The last position is an action where a response ends; no Q follows it there.
            followed = pad(output.mask[..., 1:], (0, 1))
            irl = irl | (terms.action_mask & ~followed)
        return terms._replace(action_mask=actions, irl_mask=irl)

    @property
    def _weights(self) -> dict[str, float]:
        given, model = self.config.ava, self.config.tqr
        return {"beta": model.likelihood_weight, "c_kl": given.c_kl, "lam": given.lam}

    def _counts_of(self, groups: EncodedFolder, rows: Sequence[int]) -> dict[str, int]:
        """The counts of a step's rows of one set."""
        counts = {"groups": len(rows), "rejected": 0, **dict.fromkeys(KINDS, 0)}
        for row in rows:
            sizes = self._sizes(groups.encoded(row))
            for kind, found in zip(KINDS, zip(*sizes, strict=True), strict=True):
                counts[kind] += sum(found)
            if self.config.objective != "ava_d":
                scores = groups.scores([row])
                pairs = pairs_of(scores, torch.ones_like(scores, dtype=torch.bool))
                add_counts(counts, pairs, sizes)
                losers = set(pairs.rejected.tolist())
                counts["rejected"] += sum(sizes[place][0] for place in losers)
        return counts

    @property
    def _longest(self) -> int:
        return self.config.limits.longest_response

    def _sizes(self, group: EncodedGroup) -> list[tuple[int, ...]]:
        """How many of each of `KINDS` each response has."""
        given = self.config.ava
        sizes: list[tuple[int, ...]] = []
        for ids, ended in zip(group.responses_ids, has_ended(group, self.end), strict=True):
            size = len(ids) if ended else min(len(ids), self._longest - 1)
            irl = size if ended and given.terminal_td else size - 1
            sizes.append((size - given.strict_sum, irl, size))
        return sizes


def _still(terms: AvaTerms) -> AvaTerms:
    return AvaTerms(*(part.detach() for part in terms))
