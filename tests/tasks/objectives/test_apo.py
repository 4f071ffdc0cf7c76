"""The APO reward-model loss and its ablations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.apo import ApoCounts, apo_rm, apo_rm_gail, apo_rm_wgan
from tasks.objectives.reward import bradley_terry

VARIANTS = [apo_rm, apo_rm_wgan, apo_rm_gail]


def _draw(seed: int, queries: int, samples: int, pairs: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(queries,), (queries, samples), (pairs,), (pairs,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def _slow(gold: Tensor, samples: Tensor, chosen: Tensor, rejected: Tensor, beta_2: float) -> float:
    """Eq. 17 with loops."""

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    apo = [
        sum(softplus(s - g) for s in row) / len(row)
        for g, row in zip(gold.tolist(), samples.tolist(), strict=True)
    ]
    human = [softplus(lo - hi) for hi, lo in zip(chosen.tolist(), rejected.tolist(), strict=True)]
    mean = [sum(part) / len(part) if part else 0.0 for part in (apo, human)]
    return mean[0] + beta_2 * mean[1]


def test_by_hand() -> None:
    """Two queries, two samples, one human pair; u = log 3, softplus(u) = log 4, softplus(-u) = log
    4/3.

    Query 0: gold 0, samples (0, u)   -> (log 2 + log 4) / 2   = 1.039721
    Query 1: gold u, samples (0, 0)   -> log 4/3               = 0.287682
    D_APO: mean = 0.663701.  D_P: chosen u, rejected 0 -> 0.287682.  Sum with beta_2 = 10: 3.540522.
    """
    u = math.log(3)
    gold = torch.tensor([0.0, u], dtype=torch.float64)
    samples = torch.tensor([[0.0, u], [0.0, 0.0]], dtype=torch.float64)
    chosen, rejected = torch.tensor([[u], [0.0]], dtype=torch.float64)
    assert apo_rm(gold, samples, chosen, rejected).item() == pytest.approx(3.540522, abs=1e-6)
    assert apo_rm_gail(gold, samples, chosen, rejected).item() == pytest.approx(0.663701, abs=1e-6)
    # Eq. 14: the gaps are (0 + u) / 2 and (-u - u) / 2, mean -u / 4 = -0.274653.
    wgan = apo_rm_wgan(gold, samples, chosen, rejected, beta_2=1.0)
    assert wgan.item() == pytest.approx(-0.274653 + 0.287682, abs=1e-6)


@given(
    st.integers(0, 99), st.integers(0, 5), st.integers(1, 4), st.integers(0, 6), st.floats(0, 20)
)
def test_equals_the_loops(seed: int, queries: int, samples: int, pairs: int, beta_2: float) -> None:
    tensors = _draw(seed, queries, samples, pairs)
    value = apo_rm(*tensors, beta_2=beta_2).item()
    assert value == pytest.approx(_slow(*tensors, beta_2), abs=1e-9)


@given(st.integers(0, 99), st.integers(0, 5), st.integers(0, 6), st.floats(0, 20))
def test_the_two_sets_apart_give_the_same(
    seed: int, queries: int, pairs: int, beta_2: float
) -> None:
    """Identity 7: a mixed batch equals D_APO alone plus beta_2 times D_P alone, for every mix."""
    gold, samples, chosen, rejected = _draw(seed, queries, 4, pairs)
    none = chosen[:0]
    mixed = apo_rm(gold, samples, chosen, rejected, beta_2=beta_2)
    alone = apo_rm(gold, samples, none, none, beta_2=beta_2)
    ab = bradley_terry(chosen, rejected).sum() / max(pairs, 1)
    torch.testing.assert_close(mixed, alone + beta_2 * ab)


def test_gail_is_beta_2_zero_and_ab_is_the_preferences_alone() -> None:
    """Identity 7."""
    gold, samples, chosen, rejected = tensors = _draw(1, 3, 4, 5)
    assert torch.equal(apo_rm_gail(*tensors), apo_rm(*tensors, beta_2=0.0))
    assert torch.equal(apo_rm_gail(*tensors, beta_2=99.0), apo_rm_gail(*tensors))
    ab = apo_rm(gold[:0], samples[:0], chosen, rejected, beta_2=1.0)
    torch.testing.assert_close(ab, bradley_terry(chosen, rejected).mean())


@pytest.mark.parametrize("variant", VARIANTS)
@given(st.integers(0, 99), st.integers(0, 6), st.integers(0, 7), st.data())
def test_micro_batches_add_up(variant, seed: int, queries: int, pairs: int, data) -> None:
    """Cut the step anywhere, also so that a micro-batch holds one set only or nothing of either."""
    gold, samples, chosen, rejected = _draw(seed, queries, 3, pairs)
    mask = torch.rand(queries, 3, generator=torch.Generator().manual_seed(seed)) < 0.6
    counts = ApoCounts(queries=int(mask.any(dim=1).sum()), pairs=pairs)
    q, n = data.draw(st.integers(0, queries)), data.draw(st.integers(0, pairs))
    parts = [
        variant(gold[a], samples[a], chosen[b], rejected[b], sample_mask=mask[a], counts=counts)
        for a, b in ((slice(0, q), slice(0, n)), (slice(q, None), slice(n, None)))
    ]
    whole = variant(gold, samples, chosen, rejected, sample_mask=mask)
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_counts_may_be_a_tuple_or_a_mapping() -> None:
    tensors = _draw(2, 3, 4, 5)
    expected = apo_rm(*tensors, counts=ApoCounts(queries=6, pairs=10))
    assert torch.equal(apo_rm(*tensors, counts=(6, 10)), expected)
    assert torch.equal(apo_rm(*tensors, counts={"pairs": 10, "queries": 6}), expected)


@pytest.mark.parametrize("counts", [(2, 5), (3, 4)])
def test_counts_below_what_is_here_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="smaller than this call alone"):
        apo_rm(*_draw(2, 3, 4, 5), counts=counts)


def test_a_query_weighs_the_same_with_fewer_samples() -> None:
    """One of two real samples in query 1: its term is that sample's loss, not half of it."""
    gold, samples = torch.zeros(2), torch.tensor([[0.0, 0.0], [2.0, 9.0]])
    mask = torch.tensor([[True, True], [True, False]])
    none = torch.zeros(0)
    expected = (math.log(2) + math.log1p(math.exp(2.0))) / 2
    value = apo_rm(gold, samples, none, none, sample_mask=mask)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("variant", [apo_rm, apo_rm_wgan])
def test_a_negative_weight_is_refused(variant) -> None:
    with pytest.raises(ValueError, match="beta_2"):
        variant(*_draw(0, 1, 1, 1), beta_2=-1.0)
