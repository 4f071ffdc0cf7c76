"""The reward model's side of the APO game, and its ablations of Table 4.

Two sets meet in one loss: D_APO, a gold response against S samples of the policy for each of Q
queries, and D_P, N human preference pairs. Each set has an expectation of its own, so how the two
share a batch changes nothing. For the ablation `ab` (no D_APO) use `bradley_terry` on D_P alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_ndim,
    require_not_negative,
    zero_outside,
)
from tasks.objectives.reward import bradley_terry


class ApoCounts(NamedTuple):
    """How much of each set one whole optimiser step holds: the denominators of its means."""

    queries: int
    """Queries with at least one real sample, over all micro-batches and ranks of the step."""

    pairs: int
    """Human preference pairs, over all micro-batches and ranks of the step."""


Counts = ApoCounts | tuple[int, int] | Mapping[str, int]


def apo_rm(
    gold: Tensor,
    samples: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta_2: float = 10.0,
    sample_mask: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """Rank gold above the policy's samples while keeping to the human preferences.

    L = L_rank(D_APO) + beta_2 L_rank(D_P). One query's term is the mean over its samples.

    Args:
        gold: reward of the golden response of each query, reward units. Shape (Q,).
        samples: reward of the policy's samples of that query. Shape (Q, S).
        chosen: reward of the preferred response of each human pair. Shape (N,).
        rejected: reward of the other response. Shape (N,).
        beta_2: weight of the human preferences, not negative. The authors' release weighs 1 : 10.
        sample_mask: which samples are real. Bool, shape (Q, S); None: all. A query without a real
            sample does not count, nor does its gold.
        counts: the denominators of the optimiser step this call is a part of, so that the values
            of its micro-batches add up to the step's loss; a mapping or tuple (queries, pairs)
            does as well. None: this call is the whole step.

    Returns:
        The loss, nats. Shape (). An empty set contributes 0.

    Raises:
        ValueError: if shapes do not fit, beta_2 is negative or counts are smaller than what is
            here.

    Source:
        Eq. 17, arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> gold, samples = torch.tensor([0.0]), torch.tensor([[0.0, 2.0]])
        >>> chosen, rejected = torch.tensor([2.0]), torch.tensor([0.0])
        >>> loss = apo_rm(gold, samples, chosen, rejected, beta_2=10.0)
        >>> loss.round(decimals=4)  # (0.6931 + 2.1269) / 2 + 10 * 0.1269
        tensor(2.6793)
    """
    return _game(_log_odds_of_gold, gold, samples, chosen, rejected, beta_2, sample_mask, counts)


def apo_rm_wgan(
    gold: Tensor,
    samples: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta_2: float = 10.0,
    sample_mask: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """The ablation `wgan`: the plain reward gap, without log-sigmoid, on D_APO.

    L = mean(r(sample) - r(gold)) + beta_2 L_rank(D_P). Unbounded below by design. Arguments, their
    shapes and units are those of `apo_rm`.

    Returns:
        The loss. Shape (). An empty set contributes 0.

    Raises:
        ValueError: as `apo_rm`.

    Source:
        Eq. 14 and Table 4, arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> gold, samples = torch.tensor([1.0]), torch.tensor([[0.0, 2.0]])
        >>> chosen, rejected = torch.tensor([2.0]), torch.tensor([0.0])
        >>> apo_rm_wgan(gold, samples, chosen, rejected, beta_2=1.0).round(decimals=4)  # 0 + 0.1269
        tensor(0.1269)
    """
    return _game(_gap_to_gold, gold, samples, chosen, rejected, beta_2, sample_mask, counts)


def apo_rm_gail(
    gold: Tensor,
    samples: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta_2: float = 10.0,
    sample_mask: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """The ablation `gail`: gold above samples with nothing that keeps to the human preferences.

    Arguments, their shapes and units are those of `apo_rm`, so that the variants share one
    signature; `chosen`, `rejected` and `beta_2` have no influence.

    Returns:
        The loss, nats. Shape (). 0 without queries.

    Raises:
        ValueError: as `apo_rm`.

    Source:
        Eq. 15 and Table 4, arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> gold, samples = torch.tensor([0.0]), torch.tensor([[0.0, 2.0]])
        >>> pair = torch.tensor([5.0])
        >>> apo_rm_gail(gold, samples, pair, pair).round(decimals=4)  # (0.6931 + 2.1269) / 2
        tensor(1.4100)
    """
    return _game(_log_odds_of_gold, gold, samples, chosen, rejected, 0.0, sample_mask, counts)


def _log_odds_of_gold(gaps: Tensor) -> Tensor:
    return -logsigmoid(gaps)  # Eq. 15


def _gap_to_gold(gaps: Tensor) -> Tensor:
    return -gaps  # Eq. 14


def _game(
    term: Callable[[Tensor], Tensor],
    gold: Tensor,
    samples: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    beta_2: float,
    sample_mask: Tensor | None,
    counts: Counts | None,
) -> Tensor:
    """The mean of `term` over D_APO plus beta_2 times the ranking loss over D_P."""
    require_ndim(1, gold=gold, chosen=chosen, rejected=rejected)
    require_ndim(2, samples=samples)
    require_not_negative(beta_2=beta_2)
    if samples.shape[0] != gold.shape[0]:
        raise ValueError(f"gold {tuple(gold.shape)} and samples {tuple(samples.shape)} differ in Q")
    mask = full_mask(sample_mask, samples)

    real_samples = mask.sum(dim=1)
    real_query = real_samples > 0
    gaps = zero_outside(raised(gold).unsqueeze(1) - raised(samples), mask)
    per_query = zero_outside(term(gaps), mask).sum(dim=1) / real_samples.where(real_query, 1)

    queries, pairs = _denominators(counts, int(real_query.sum()), chosen.shape[0])
    preference = bradley_terry(chosen, rejected).sum() / pairs
    return per_query.sum() / queries + beta_2 * preference  # Eq. 17


def _denominators(counts: Counts | None, queries: int, pairs: int) -> ApoCounts:
    """The step's counts, or what is here; at least 1, because the sum over an empty set is 0."""
    here = ApoCounts(queries, pairs)
    if counts is None:
        step = here
    else:
        step = ApoCounts(**counts) if isinstance(counts, Mapping) else ApoCounts(*counts)
        if step.queries < queries or step.pairs < pairs:
            raise ValueError(f"the step's counts {step} are smaller than this call alone: {here}")
    return ApoCounts(max(step.queries, 1), max(step.pairs, 1))
