"""Means, clustered errors and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.metrics.estimates import (
    Estimate,
    bootstrap_means,
    clustered_mean,
    mean_estimate,
    over_seeds,
)


def test_mean_by_hand() -> None:
    """1, 2, 3: mean 2, s = 1, error 1 / sqrt 3."""
    estimate = mean_estimate([1.0, 2.0, 3.0])
    assert estimate.value == 2
    assert estimate.standard_error == pytest.approx(3**-0.5)
    assert mean_estimate([]) == Estimate(0.0, 0.0, 0)
    assert mean_estimate([5.0]) == Estimate(5.0, 0.0, 1)


def test_clusters_by_hand() -> None:
    """{1, 1} and {4}: mean 2; cluster sums of deviations -2 and 2; sqrt(2 * 8) / 3 = 4/3."""
    estimate = clustered_mean([[1.0, 1.0], [4.0], []])
    assert estimate.value == 2
    assert estimate.standard_error == pytest.approx(4 / 3)
    assert estimate.count == 2


def test_clusters_of_one_are_the_plain_mean() -> None:
    values = np.random.default_rng(0).normal(size=50)
    plain, clustered = mean_estimate(values), clustered_mean(values[:, None])
    assert clustered.value == pytest.approx(plain.value)
    assert clustered.standard_error == pytest.approx(plain.standard_error)


def test_repeating_every_observation_teaches_nothing() -> None:
    """Four copies of each: the clustered error stays; an unclustered one would halve."""
    values = np.random.default_rng(1).normal(size=(40, 1))
    once, copied = clustered_mean(values), clustered_mean(values.repeat(4, axis=1))
    assert copied.standard_error == pytest.approx(once.standard_error)


def test_bootstrap_covers_the_truth() -> None:
    """Of 200 samples from N(0, 1), about 95 % of the intervals hold 0."""
    generator = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        rows = generator.normal(size=60)
        low, high = bootstrap_means(rows, seed=trial, resamples=400).confidence_interval
        hits += low < 0 < high
    assert 180 <= hits <= 199


def test_bootstrap_of_two_prompts_by_hand() -> None:
    """0 and 1, drawn twice: 0, 1/2, 1/2 or 1 with equal chance, so 95 % reach from 0 to 1."""
    found = bootstrap_means([0.0, 1.0], seed=0, resamples=4000)
    assert found.confidence_interval == (0.0, 1.0)
    values, counts = np.unique(found.bootstrap_distribution, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    alone = bootstrap_means([[3.0, 4.0]], seed=0, resamples=10).confidence_interval
    assert (alone.low.tolist(), alone.high.tolist()) == ([3.0, 4.0], [3.0, 4.0])


def test_bootstrap_draws_the_columns_of_a_prompt_together() -> None:
    column = np.random.default_rng(1).normal(size=30)
    rows = np.stack([column, 1 - column], axis=1)
    first, second = bootstrap_means(rows, seed=0, resamples=50).bootstrap_distribution
    assert second == pytest.approx(1 - first)


def test_bootstrap_of_many_prompts_draws_in_batches() -> None:
    """In batches or at once, the interval agrees with the normal one: 1.96 s / √P."""
    rows = np.random.default_rng(4).normal(size=(20_000, 1))
    interval = bootstrap_means(rows, seed=0, resamples=1000).confidence_interval
    error = rows.std() / len(rows) ** 0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_bootstrap_is_private_and_seeded() -> None:
    rows = np.random.default_rng(3).normal(size=(20, 2))
    before = np.random.get_state()[1].copy()
    first, again, other = (bootstrap_means(rows, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.confidence_interval, again.confidence_interval)
    assert not np.array_equal(first.confidence_interval, other.confidence_interval)
    assert np.array_equal(before, np.random.get_state()[1])


def test_seeds_and_prompts_both_count() -> None:
    """Values 1 and 3 differ by s² / n = 2 / 2 = 1; errors 3 and 4 add (9 + 16) / 2."""
    estimate = over_seeds([Estimate(1.0, 3.0, 8), Estimate(3.0, 4.0, 8)])
    assert (estimate.value, estimate.count) == (2, 2)
    assert estimate.standard_error == pytest.approx((1 + 12.5) ** 0.5)
    assert over_seeds([Estimate(5.0, 0.5, 8)]) == Estimate(5.0, 0.5, 1)
