"""Importance weights, the kernel, and how far a learned policy is from the optimal one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from tasks.evaluation.metrics.density_ratio import (
    Densities,
    density_ratio,
    effective_samples,
    kernel_density,
    log_weights,
    silverman,
    weight_distance,
)

GENERATOR = np.random.default_rng(3)
PLACES = GENERATOR.normal(-100, 20, size=50)
WEIGHTS = np.exp(log_weights(GENERATOR.normal(size=50)))


def test_weights_by_hand() -> None:
    """Ratios 3 and 1: 3/4 and 1/4, also when both are shifted far beyond exp's range."""
    for shift in (0.0, 1e4, -1e4):
        logs = log_weights([np.log(3) + shift, shift])
        assert np.exp(logs) == pytest.approx([0.75, 0.25])


def test_the_kernel_agrees_with_scipy() -> None:
    grid = np.linspace(-180, -40, 64)
    scipys = gaussian_kde(PLACES, bw_method=0.3, weights=WEIGHTS)
    ours = kernel_density(grid, PLACES, WEIGHTS, float(np.sqrt(scipys.covariance[0, 0])))
    assert ours == pytest.approx(scipys(grid))


def test_silverman_by_hand() -> None:
    """Of 0 … 31: s = 9.381, IQR / 1.34 = 11.567; 0.9 · 9.381 / 2 = 4.221."""
    assert silverman(np.arange(32.0)) == pytest.approx(0.9 * np.arange(32).std(ddof=1) / 2)
    assert silverman([5.0, 5.0, 5.0]) == 1e-3


def test_effective_samples_by_hand() -> None:
    """Of weights 3/4 and 1/4: 1 / (9/16 + 1/16) = 1.6; of even ones all, of a single one 1."""
    assert effective_samples(np.log([0.75, 0.25])) == pytest.approx(1.6)
    assert effective_samples(log_weights([0.0] * 7)) == pytest.approx(7)
    assert effective_samples(log_weights([1e4, 0.0])) == 1


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20))
def test_the_ratio_stays_between_the_weights(log_ratios: list[float]) -> None:
    """It is a local mean of M · weight."""
    count = len(log_ratios)
    places = np.linspace(-10, 0, count)
    weights = np.exp(log_weights(log_ratios))
    grid = np.linspace(-10, 0, 17)
    even = kernel_density(grid, places, np.full(count, 1 / count), 2.0)
    ratio = density_ratio(kernel_density(grid, places, weights, 2.0), even)
    slack = 1e-9 * (1 + count * weights.max())
    assert (ratio >= count * weights.min() - slack).all()
    assert (ratio <= count * weights.max() + slack).all()


def _distance(learned: np.ndarray, optimal: np.ndarray) -> object:
    grid = np.linspace(PLACES.min(), PLACES.max(), 50)
    drawn = [kernel_density(grid, PLACES, np.exp(one), 5.0) for one in (learned, optimal)]
    return weight_distance(learned, optimal, Densities(grid, *drawn))


def test_no_distance_from_itself() -> None:
    logs = log_weights(GENERATOR.normal(size=50))
    distance = _distance(logs, logs)
    assert (distance.reverse_kl, distance.forward_kl, distance.density_kl) == (0, 0, 0)


def test_distance_by_hand() -> None:
    """(3/4, 1/4) against (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2, and half of log 2/3 + log 2."""
    learned, optimal = np.log([0.75, 0.25]), np.log([0.5, 0.5])
    grid = np.array([0.0, 1.0])
    distance = weight_distance(learned, optimal, Densities(grid, np.exp(learned), np.exp(optimal)))
    reverse = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert distance.reverse_kl == pytest.approx(reverse)
    assert distance.density_kl == pytest.approx(reverse)
    assert distance.forward_kl == pytest.approx((np.log(2 / 3) + np.log(2)) / 2)
    assert distance.effective_samples == pytest.approx(1 / (0.75**2 + 0.25**2))


def test_far_policies_stay_finite() -> None:
    """Log-ratios of thousands of nats underflow as weights, not as distances."""
    learned, optimal = log_weights([0.0, -5000.0]), log_weights([-5000.0, 0.0])
    grid = np.linspace(-100, 0, 5)
    drawn = [kernel_density(grid, [-100.0, 0.0], np.exp(one), 0.5) for one in (learned, optimal)]
    distance = weight_distance(learned, optimal, Densities(grid, *drawn))
    assert distance.reverse_kl == pytest.approx(5000)
    assert np.isfinite(distance.density_kl)
