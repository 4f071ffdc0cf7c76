"""AVA's losses, by the closed-form checks of its specification."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasks.objectives.ava import AvaTerms, ava_d, ava_p, cer
from tests.tasks.objectives.ava_rows import Heads, padded, terms, terms_of
from tests.tasks.objectives.slow_ava import golden_row

CHOSEN, REJECTED = golden_row(rejected=False), golden_row(rejected=True)
NUMBERS = {"gamma": 0.99, "lam": 0.5}


def score(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


# The likelihood


def test_without_irl_terms_ava_d_is_the_cross_entropy_of_the_response() -> None:
    """Value and gradient, the end of the sequence included; as printed (`prob`) it is not."""
    heads, texts = padded([CHOSEN, REJECTED])

    def run(q_map: str) -> tuple[Tensor, Tensor]:
        logits = heads.logits.clone().requires_grad_()
        side = terms_of(heads._replace(logits=logits), texts, rwt=None, q_map=q_map)
        loss = ava_d(*side, gamma=0.99, lam=0.0, c_kl=0.0)
        loss.backward()
        return loss.detach(), logits.grad

    logits = heads.logits.clone().requires_grad_()
    targets = texts.tokens.roll(-1, dims=1)[texts.actions]
    expected = cross_entropy(logits[texts.actions], targets)
    expected.backward()
    loss, slope = run("logit")
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope, logits.grad, rtol=1e-12, atol=1e-12)
    assert (slope[:, 0] == 0).all() and (slope[:, 5] == 0).all()
    assert abs(run("prob")[0] - loss) > 1e-3


@pytest.mark.parametrize("rwt", [None, "mean1"])
def test_prompt_positions_teach_nothing(rwt: str | None) -> None:
    """The gradient of AVA-p is 0 before the last prompt token, and after the last action."""
    sides, leaves = [], []
    for row in (CHOSEN, REJECTED):
        heads, texts = padded([row])
        heads = Heads(*(part.clone().requires_grad_() for part in heads))
        leaves += list(heads)
        sides.append(terms_of(heads, texts, rwt=rwt))
    ava_p(*sides, **NUMBERS, neg_guard="none", vocab_size=5).backward()
    used = leaves if rwt else [leaf for leaf in leaves if leaf.grad is not None]
    assert len(used) == (8 if rwt else 6)
    for leaf in used:
        assert (leaf.grad[0, [0, 5]] == 0).all()
        assert (leaf.grad[0, 1:4].abs() > 0).any()


@pytest.mark.parametrize(("guard", "slope"), [("none", 1.0), ("floor", 0.0)])
def test_the_floor_stops_the_push_below_chance(guard: str, slope: float) -> None:
    """g'(l) = 0 for l < - beta log V, beta above it; one action, so that the mean is its own."""
    for log_lik, expected in ((-math.log(5) - 0.1, slope), (-math.log(5) + 0.1, 1.0)):
        leaf = torch.tensor([[log_lik]], dtype=torch.float64, requires_grad=True)
        side = terms(width=1)
        loss = ava_p(
            side,
            side._replace(log_lik=leaf),
            **NUMBERS,
            beta=0.7,
            neg_guard=guard,
            vocab_size=5,
        )
        loss.backward()
        assert leaf.grad.item() == pytest.approx(0.7 * expected)


def test_the_floor_bounds_the_loss() -> None:
    """-beta log V per token is the least that rejected tokens give, however unlikely they are."""
    side = terms(seed=1)
    least = ava_p(side, side._replace(log_lik=side.q - 1e9), **NUMBERS, vocab_size=5)
    floor = side._replace(log_lik=torch.full_like(side.q, -math.log(5)))
    assert least == ava_p(side, floor, **NUMBERS, vocab_size=5)
    unbounded = ava_p(
        side, side._replace(log_lik=side.q - 1e9), **NUMBERS, neg_guard="none", vocab_size=5
    )
    assert unbounded < -1e8


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 3, st.floats(-3, 3)), min_size=2), st.data())
def test_with_the_floor_and_the_models_clamp_nothing_is_unbounded(
    positions: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    """λ <= c_KL and |ln σ| <= 3: a side's IRL terms are at least -c/2 - 3 (c - λ), whatever Q is.

    c (½(μ² + σ² - 1) - ln σ) + λ(½r² + ln σ + ½ log 2π) with every square and log 2π left out.
    """
    c_kl = data.draw(st.floats(0, 2))
    lam = data.draw(st.floats(0, 1)) * c_kl
    q, q_next, mean, log_std = torch.tensor(positions, dtype=torch.float64).T.unsqueeze(1)
    side = terms(width=len(positions))._replace(
        q=q, q_next=q_next, mean=mean, log_std=log_std, log_lik=-(q**2)
    )
    numbers = {"gamma": 0.99, "lam": lam, "c_kl": c_kl, "vocab_size": 5}
    least = -math.log(5) - 2 * (c_kl / 2 + 3 * (c_kl - lam))
    assert ava_p(side, side, **numbers).item() >= least - 1e-9


def test_unlikelihood_by_hand_and_at_certainty() -> None:
    """-log(1 - p): p = 3/4 gives log 4, p = 1/2 log 2; p = 1 stays finite, slope included."""
    zero = terms(width=2)
    log_lik = torch.tensor([[0.75, 0.5]], dtype=torch.float64).log()
    numbers = {**NUMBERS, "irl_on": "chosen", "vocab_size": 5, "neg_guard": "unlikelihood"}
    gain = ava_p(zero, zero._replace(log_lik=log_lik), beta=2.0, **numbers) - ava_d(
        *zero, **NUMBERS, beta=2.0
    )
    assert gain.item() == pytest.approx(2 * (math.log(4) + math.log(2)) / 2)
    for dtype in (torch.float32, torch.float64):
        certain = torch.tensor([[0.0, -1e-3]], dtype=dtype, requires_grad=True)
        side = AvaTerms(*(part.to(dtype) for part in zero[:5]), *zero[5:])
        loss = ava_p(side, side._replace(log_lik=certain), **numbers)
        loss.backward()
        assert loss.isfinite() and certain.grad.isfinite().all()


# Both sides


def test_a_response_against_itself_leaves_twice_the_irl_terms() -> None:
    heads, texts = padded([CHOSEN])
    side = terms_of(heads, texts, rwt="mean1")
    loss = ava_p(side, side, **NUMBERS, neg_guard="none", vocab_size=5)
    without_likelihood = ava_d(*side, **NUMBERS, beta=0.0)
    torch.testing.assert_close(loss, 2 * without_likelihood)
    same = score(0.7)
    cer(same, same).backward()
    assert same.grad.item() == 0


def test_the_ablations_drop_their_parts() -> None:
    """`neg`: the rejected side is nowhere, AVA-d is left. `irl`: only the likelihoods are left."""
    plus, minus = terms(seed=2), terms(seed=3)
    log_lik = minus.log_lik - 1.0
    minus = minus._replace(log_lik=log_lik)
    no_neg = ava_p(plus, minus, **NUMBERS, b_neg=0.0, irl_on="chosen", vocab_size=5)
    torch.testing.assert_close(no_neg, ava_d(*plus, **NUMBERS))
    no_irl = ava_p(plus, minus, gamma=0.99, lam=0.0, c_kl=0.0, neg_guard="none", vocab_size=5)
    torch.testing.assert_close(no_irl, log_lik.mean() - plus.log_lik.mean())


def test_a_longer_side_has_no_extra_weight() -> None:
    """Twenty rejected tokens of log-likelihood -1 count as two: both means are 1, and cancel."""
    ones = [
        terms(width=width, log_lik=torch.full((1, width), -1.0, dtype=torch.float64))
        for width in (2, 20)
    ]
    loss = ava_p(*ones, gamma=0.9, lam=0.0, neg_guard="none", vocab_size=5)
    assert loss.item() == pytest.approx(0)


@given(st.integers(0, 99), st.integers(0, 4), st.integers(0, 4))
def test_micro_batches_add_up(seed: int, first: int, second: int) -> None:
    """Cut the step anywhere, also so that a part has nothing of a side: counts make it whole."""
    plus, minus = terms(4, seed=seed), terms(4, 5, seed=seed + 100)
    real = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)) < 0.7
    minus = minus._replace(action_mask=real, irl_mask=minus.irl_mask & real)
    counts = {
        name: {"actions": int(side.action_mask.sum()), "irl": int(side.irl_mask.sum())}
        for name, side in (("chosen", plus), ("rejected", minus))
    }
    numbers = {**NUMBERS, "vocab_size": 3, "beta": 0.8}

    def part(rows: slice, other: slice) -> Tensor:
        sides = (AvaTerms(*(t[r] for t in s)) for s, r in ((plus, rows), (minus, other)))
        return ava_p(*sides, **numbers, counts=counts)

    whole = ava_p(plus, minus, **numbers)
    parts = part(slice(first), slice(second)) + part(slice(first, None), slice(second, None))
    torch.testing.assert_close(parts, whole)
    top = ava_d(*(t[:first] for t in plus), **NUMBERS, counts=counts["chosen"])
    rest = ava_d(*(t[first:] for t in plus), **NUMBERS, counts=counts["chosen"])
    torch.testing.assert_close(top + rest, ava_d(*plus, **NUMBERS))


def test_a_response_of_one_token_has_no_irl_terms() -> None:
    side = terms(width=1, seed=4)
    assert not side.irl_mask.any()
    torch.testing.assert_close(ava_d(*side, **NUMBERS), -side.log_lik.mean())


# The contrast of scores


def test_the_contrast_by_hand() -> None:
    """Δ = 0.3: slopes ∓σ(Δ)(1 - σ(Δ)) = ∓0.244458, by the log link ∓(1 - σ(Δ)) = ∓0.425557."""
    for link, slope in (("sigmoid", 0.244458), ("log", 0.425557)):
        plus, minus = score(0.5), score(0.2)
        cer(plus, minus, link=link).backward()
        assert [plus.grad.item(), minus.grad.item()] == pytest.approx([-slope, slope], abs=1e-6)
    assert cer(score(1.0), score(1.0)).item() == -0.5


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_swapping_the_pair_mirrors_the_contrast(winner: float, loser: float) -> None:
    """L → -1 - L, and no slope is above a quarter."""
    plus, minus = score(winner), score(loser)
    loss = cer(plus, minus)
    torch.testing.assert_close(cer(minus, plus), -1 - loss)
    loss.backward()
    assert plus.grad.abs().item() <= 0.25 and plus.grad.item() == -minus.grad.item()


def test_the_contrast_of_random_labels_has_no_slope_on_average() -> None:
    """Label and score independent: half of the pairs are ordered, the loss is -1/2 on average."""
    scores = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    assert cer(scores[:, 0], scores[:, 1]).mean().item() == pytest.approx(-0.5, abs=0.01)


# Refusals


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gamma": 1.1}, "gamma must be from 0 to 1"),
        ({"lam": -0.1}, "lam must be finite and not negative"),
        ({"beta": math.nan}, "beta must be"),
        ({"c_kl": -1.0}, "c_kl must be"),
        ({"b_neg": -1.0}, "b_neg must be"),
        ({"irl_on": "rejected"}, "irl_on must be one of both, chosen, got 'rejected'"),
        ({"neg_guard": "clamp"}, "neg_guard must be one of floor, none, unlikelihood"),
        ({"vocab_size": 1}, "vocab_size must be at least 2, got 1"),
        ({"counts": {"chosen": {"actions": 3, "irl": 2}}}, "counts must have chosen and rejected"),
        (
            {"counts": {n: {"tokens": 9} for n in ("chosen", "rejected")}},
            "counts must have actions and irl, got tokens",
        ),
        (
            {"counts": {n: {"actions": 3, "irl": 1} for n in ("chosen", "rejected")}},
            "smaller than this call alone",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, object], message: str) -> None:
    numbers = {**NUMBERS, "vocab_size": 5} | wrong
    with pytest.raises(ValueError, match=message):
        ava_p(terms(), terms(), **numbers)


def test_an_unknown_link_is_refused() -> None:
    with pytest.raises(ValueError, match="link must be one of sigmoid, log, got 'probit'"):
        cer(score(0.0), score(0.0), link="probit")
