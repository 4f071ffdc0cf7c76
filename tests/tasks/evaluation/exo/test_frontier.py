"""Points, dominance, and rewards at equal KL."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.exo.frontier import Frontier, FrontierPoint, pareto
from tasks.evaluation.metrics.estimates import mean_estimate

PROMPTS = 30
NOISE = np.random.default_rng(0).normal(size=PROMPTS)
NOISE -= NOISE.mean()


def _point(
    series: str, kl: float, reward: float, *, seed: int = 0, step: int = 0, noise: float = 0.0
) -> FrontierPoint:
    """A checkpoint whose rewards differ by prompt as those of all others do."""
    rewards = reward + NOISE + noise * np.random.default_rng(step + 99 * seed).normal(size=PROMPTS)
    estimate = mean_estimate(rewards)
    log_ratios = np.full(PROMPTS, kl)
    return FrontierPoint(
        name=f"{series}-{seed}-{step}-{kl}",
        series=series,
        seed=seed,
        step=step,
        kl=mean_estimate(log_ratios),
        reward=estimate,
        accuracy=estimate,
        spread=estimate,
        log_ratios=log_ratios,
        rewards=rewards,
    )


START = _point("SFT", 0.0, 0.0)


def _series(name: str, *points: tuple[float, float], seed: int = 0) -> list[FrontierPoint]:
    return [_point(name, *one, seed=seed, step=step) for step, one in enumerate(points, start=1)]


def test_dominated_points_drop_out() -> None:
    points = _series("a", (1.0, 1.0), (2.0, 0.5), (3.0, 2.0), (3.0, 1.5), (0.5, 0.5))
    best = [(point.kl.value, round(point.reward.value, 9)) for point in pareto(points)]
    assert best == [(0.5, 0.5), (1.0, 1.0), (3.0, 2.0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_pareto_agrees_with_its_definition(pairs: list[tuple[int, int]]) -> None:
    """Kept are those that no point beats in one metric without losing in the other."""
    points = [_exact(kl, reward) for kl, reward in pairs]
    kept = {(one.kl.value, one.reward.value) for one in pareto(points)}
    expected = {
        (a, b)
        for a, b in pairs
        if not any(c <= a and d >= b and (c, d) != (a, b) for c, d in pairs)
    }
    assert kept == expected


def _exact(kl: float, reward: float) -> FrontierPoint:
    one, two = mean_estimate([kl]), mean_estimate([reward])
    return FrontierPoint("n", "a", 0, 0, one, two, two, two, np.array([kl]), np.array([reward]))


def test_a_series_is_straight_between_its_checkpoints() -> None:
    """At KL 2, halfway between (1, 1) and (3, 2): 1.5; the prompts' noise is in the interval."""
    frontier = Frontier(_series("a", (3.0, 2.0), (1.0, 1.0)), START, resamples=400)
    value, interval = frontier.reward_at("a", 2.0)
    assert value == pytest.approx(1.5)
    error = NOISE.std(ddof=1) / PROMPTS**0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.2)
    assert frontier.reward_at("a", 0.5) is None
    assert frontier.reward_at("a", 3.5) is None


def test_difference_at_equal_kl_by_hand() -> None:
    """Lines r = KL and r = KL / 2 from 1 to 2: the gap is KL / 2, on average 3/4.

    All noise is the prompts' own and cancels in the pairs.
    """
    points = [*_series("a", (1.0, 1.0), (4.0, 4.0)), *_series("b", (0.5, 0.25), (2.0, 1.0))]
    outcome = Frontier(points, START, resamples=50).compare("a", "b")
    assert (outcome.low, outcome.high) == (1.0, 2.0)
    assert outcome.difference == pytest.approx(0.75)
    assert outcome.interval.low == pytest.approx(0.75)
    assert outcome.interval.high == pytest.approx(0.75)
    assert (outcome.verdict, outcome.above, outcome.below) == ("better", 1.0, 0.0)
    assert Frontier(points, START, resamples=50).compare("b", "a").verdict == "worse"


def test_a_series_that_was_not_measured_as_near_the_start_is_on_its_chord() -> None:
    """r = KL on the chord to (4, 4) against (0.5, 1), (1, 2), on 0.5 to 1: the gap is −KL."""
    points = [*_series("a", (4.0, 4.0), (5.0, 5.0)), *_series("b", (0.5, 1.0), (1.0, 2.0))]
    frontier = Frontier(points, START, resamples=50)
    outcome = frontier.compare("a", "b")
    assert (outcome.low, outcome.high, outcome.on_chord) == (0.5, 1.0, "a")
    assert outcome.difference == pytest.approx(-0.75)
    assert outcome.interval.high < 0
    assert outcome.verdict == "undecided", "the chord is the least that it reaches"
    assert (outcome.above, outcome.below) == (0.0, 0.0)
    reverse = frontier.compare("b", "a")
    assert (reverse.on_chord, reverse.verdict) == ("a", "undecided")
    assert (reverse.above, reverse.below) == (0.0, 0.0)
    assert reverse.difference == pytest.approx(0.75)


def test_a_series_ahead_on_its_chord_is_ahead() -> None:
    """r = 2 KL on the chord to (4, 8) against the one checkpoint (1, 1): the gap is 1."""
    points = [*_series("a", (4.0, 8.0)), *_series("b", (1.0, 1.0))]
    frontier = Frontier(points, START, resamples=50)
    outcome = frontier.compare("a", "b")
    assert (outcome.low, outcome.high, outcome.on_chord) == (1.0, 1.0, "a")
    assert outcome.difference == pytest.approx(1.0)
    assert (outcome.verdict, outcome.above) == ("better", 1.0)
    assert frontier.compare("b", "a").verdict == "worse"


def test_a_series_that_stays_at_the_start_cannot_be_compared() -> None:
    points = [*_series("a", (-0.1, 0.0)), *_series("b", (1.0, 1.0))]
    assert Frontier(points, START, resamples=50).compare("a", "b") is None


def test_seeds_that_disagree_leave_it_undecided() -> None:
    """Three seeds ahead by −1, 0.2 and 1.4 of a series without noise: on average 0.2, undecided."""
    points = _series("b", (1.0, 0.0), (2.0, 0.0))
    for seed, lead in enumerate((-1.0, 0.2, 1.4)):
        points += _series("a", (1.0, lead), (2.0, lead), seed=seed)
    outcome = Frontier(points, START, resamples=500).compare("a", "b")
    assert outcome.difference == pytest.approx(0.2)
    assert outcome.verdict == "undecided"
    assert outcome.seeds == (3, 1)
    # Student's t with two degrees of freedom: 4.30 · 1.2 / √3 = 2.98.
    assert 0.2 - outcome.interval.low == pytest.approx(2.98, rel=0.2)


def test_prompts_that_a_checkpoint_was_not_asked_do_not_count() -> None:
    half = _point("a", 1.0, 1.0, step=1)
    rewards, log_ratios = half.rewards.copy(), half.log_ratios.copy()
    rewards[10:], log_ratios[10:] = np.nan, np.nan
    cut = FrontierPoint(
        "cut", "a", 0, 1, half.kl, half.reward, half.accuracy, half.spread, log_ratios, rewards
    )
    points = [cut, *_series("a", (2.0, 2.0))]
    value, interval = Frontier(points, START, resamples=50).reward_at("a", 1.0)
    assert value == pytest.approx(rewards[:10].mean())
    assert np.isfinite([interval.low, interval.high]).all()


def test_the_same_seed_gives_the_same_interval() -> None:
    points = [*_series("a", (1.0, 1.0), (2.0, 3.0)), *_series("b", (1.0, 0.5), (2.0, 1.0))]
    first, second = (Frontier(points, START, resamples=50).compare("a", "b") for _ in range(2))
    assert first == second
