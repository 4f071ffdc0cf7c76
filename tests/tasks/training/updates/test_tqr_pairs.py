"""AVA-p on groups: of two responses it is `ava_p`, of more every response counts once."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tasks.objectives.ava import AvaTerms, ava_p, gaussian_kl, td_log_density
from tasks.training.updates.tqr_pairs import (
    Positions,
    add_counts,
    ava_p_of_pairs,
    denominators,
    pairs_of,
    positions_of,
)

OPTIONS = {"gamma": 0.9, "lam": 0.4, "beta": 1.5, "c_kl": 0.8, "b_neg": 0.7, "vocab_size": 12}


def random_terms(shape: tuple[int, ...], lengths: Tensor, seed: int = 0) -> AvaTerms:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(5)]
    parts[2] = -3 * parts[2].abs()
    places = torch.arange(shape[-1])
    return AvaTerms(*parts, places < lengths[..., None], places < lengths[..., None] - 1)


def sizes_of(scores: Tensor, mask: Tensor, terms: AvaTerms) -> Positions:
    counts: dict[str, int] = {}
    for row in range(len(scores)):
        actions, irl = (mask[row].sum(-1).tolist() for mask in terms[-2:])
        sizes = actions, irl, actions
        pairs = pairs_of(scores[row : row + 1], mask[row : row + 1])
        add_counts(counts, pairs, list(zip(*sizes, strict=True)))
    return positions_of(counts)


@pytest.mark.parametrize("guard", ["floor", "none", "unlikelihood"])
def test_of_two_responses_it_is_the_objective(guard: str) -> None:
    terms = random_terms((4, 2, 5), torch.tensor([[5, 2], [3, 5], [2, 2], [4, 3]]))
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 1.5]])
    mask = torch.ones(4, 2, dtype=torch.bool)
    pairs = pairs_of(scores, mask)
    found = ava_p_of_pairs(terms, pairs, sizes_of(scores, mask, terms), neg_guard=guard, **OPTIONS)
    rows, best = torch.arange(4), torch.tensor([0, 1, 0, 0])
    sides = (AvaTerms(*(part[rows, place] for part in terms)) for place in (best, 1 - best))
    assert found == pytest.approx(ava_p(*sides, neg_guard=guard, **OPTIONS).item(), abs=1e-12)


def test_the_middle_one_of_three_is_half_chosen_and_half_rejected() -> None:
    """Scores 2 > 1 > 0 are three pairs; every response is in two of them."""
    terms = random_terms((1, 3, 4), torch.tensor([[4, 3, 2]]))
    scores, mask = torch.tensor([[2.0, 1.0, 0.0]]), torch.ones(1, 3, dtype=torch.bool)
    sizes = sizes_of(scores, mask, terms)
    found = ava_p_of_pairs(terms, pairs_of(scores, mask), sizes, neg_guard="floor", **OPTIONS)

    def once(values: Tensor, real: Tensor, share: list[float]) -> float:
        weight = torch.tensor(share, dtype=torch.float64)[:, None] * real[0]
        return float((values[0] * weight).sum() / weight.sum())

    td = terms.q - 0.9 * terms.q_next
    irl = 0.8 * gaussian_kl(terms.mean, terms.log_std)
    irl = irl - 0.4 * td_log_density(td, terms.mean, terms.log_std)
    chosen, rejected = [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]
    log_lik, floor = 1.5 * terms.log_lik, -1.5 * math.log(12)
    expected = (
        -once(log_lik, terms.action_mask, chosen)
        + 0.7 * once(log_lik.clamp(min=floor), terms.action_mask, rejected)
        + once(irl, terms.irl_mask, chosen)
        + once(irl, terms.irl_mask, rejected)
    )
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_groups_of_all_sizes_add_up_however_they_are_cut() -> None:
    lengths = torch.tensor([[5, 2, 3], [4, 1, 0], [2, 5, 4], [3, 3, 2]])
    terms = random_terms((4, 3, 5), lengths)
    scores = torch.tensor([[1.0, 3.0, 2.0], [1.0, 0.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    mask = lengths > 0
    sizes = sizes_of(scores, mask, terms)
    whole = ava_p_of_pairs(terms, pairs_of(scores, mask), sizes, **OPTIONS)
    cut = [
        ava_p_of_pairs(
            AvaTerms(*(part[here] for part in terms)),
            pairs_of(scores[here], mask[here]),
            sizes,
            **OPTIONS,
        )
        for here in (slice(0, 1), slice(1, 3), slice(3, 4))
    ]
    assert float(sum(cut)) == pytest.approx(float(whole), abs=1e-12)


def test_sums_are_of_the_positions_as_printed_and_by_group() -> None:
    """Eq. 17 has Σ over pairs and positions; here it is by pair."""
    terms = random_terms((3, 2, 5), torch.tensor([[5, 2], [3, 5], [2, 1]]))
    scores, mask = torch.tensor([[1.0, 0.0]] * 3), torch.ones(3, 2, dtype=torch.bool)
    step, scale = denominators(sizes_of(scores, mask, terms), "sum", 3)
    found = scale * ava_p_of_pairs(terms, pairs_of(scores, mask), step, neg_guard="none", **OPTIONS)
    td = terms.q - 0.9 * terms.q_next
    irl = 0.8 * gaussian_kl(terms.mean, terms.log_std)
    irl = irl - 0.4 * td_log_density(td, terms.mean, terms.log_std)
    signs = torch.tensor([-1.0, 0.7], dtype=torch.float64)[:, None]
    printed = (1.5 * signs * terms.log_lik)[terms.action_mask].sum() + irl[terms.irl_mask].sum()
    assert float(found) == pytest.approx(float(printed) / 3, abs=1e-12)
