"""Accuracy and calibration, by hand and against scikit-learn's curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.metrics.calibration import (
    calibration_report,
    preference_accuracy,
)


def test_accuracy_by_hand() -> None:
    """Won, tied (wrong), lost, won: 2 of 4."""
    chosen, rejected = torch.tensor([2.0, 1.0, 0.0, 3.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    value = preference_accuracy(chosen, rejected)
    assert value == 0.5 and type(value) is float


def test_report_by_hand() -> None:
    """Three pairs with Q = 3/4, 3/4 and 1/4 (margins log 3, log 3, -log 3), two bins.

    Both orders: upper bin (0.75; outcomes 1, 1 and, from the third pair turned round, 0): o = 2/3,
    e = 3/4, error 1/12. The lower bin mirrors it: o = 1/3, e = 1/4. ECE = ACE = MCE = 1/12.
    Brier: (1/16 + 1/16 + 9/16) / 3 = 11/48. Log loss: (2 log(4/3) + log 4) / 3.
    """
    margin = math.log(3)
    report = calibration_report([margin, margin, 0.0], [0.0, 0.0, margin], bins=2)
    assert report.ece == pytest.approx(1 / 12)
    assert report.ace == pytest.approx(1 / 12)
    assert report.mce == pytest.approx(1 / 12)
    assert report.brier == pytest.approx(11 / 48)
    assert report.log_loss == pytest.approx((2 * math.log(4 / 3) + math.log(4)) / 3)
    assert report.accuracy == pytest.approx(2 / 3)
    lower, upper = report.bins
    assert (lower.count, upper.count) == (3, 3)
    assert (upper.accuracy, upper.confidence) == pytest.approx((2 / 3, 3 / 4))


def test_the_three_errors_differ_where_bins_do() -> None:
    """Four bins; margins log 3 (right, twice) and log 9 (wrong).

    Q = 0.75 (edge: belongs to the upper bin, [0.75, 1]) twice right, and Q = 0.1 once. Turned
    round: 0.25 twice (bin [0.25, 0.5)), outcome 0, and 0.9, outcome 0.
    Bin 0: {0.1 -> 1}: error 0.9. Bin 1: {0.25 -> 0, twice}: error 0.25.
    Bin 3: {0.75 -> 1, twice; 0.9 -> 0}: o = 2/3, e = 0.8: error 2/15.
    ECE = (1 * 0.9 + 2 * 0.25 + 3 * 2/15) / 6 = 0.3;  ACE = (0.9 + 0.25 + 2/15) / 3;  MCE = 0.9.
    """
    edge = math.log(3) + 1e-12
    report = calibration_report([edge, edge, 0.0], [0.0, 0.0, math.log(9)], bins=4)
    # The pair just above the edge lies just below 0.25 when turned round: it shares bin 0.
    assert [b.count for b in report.bins] == [3, 0, 0, 3]
    report = calibration_report([edge - 2e-12] * 2 + [0.0], [0.0, 0.0, math.log(9)], bins=4)
    # Just below the edge: 0.75 falls into bin 2 and 0.25 into bin 1.
    assert [b.count for b in report.bins] == [1, 2, 2, 1]
    assert report.mce == pytest.approx(0.9)
    assert report.ace == pytest.approx((0.9 + 0.25 + 0.25 + 0.9) / 4)
    assert report.ece == pytest.approx((0.9 + 2 * 0.25 + 2 * 0.25 + 0.9) / 6)


def _by_sklearn(chosen: np.ndarray, rejected: np.ndarray, bins: int) -> tuple[float, float, float]:
    """ECE, ACE and MCE from scikit-learn's calibration curve on both orders of every pair."""
    from sklearn.calibration import calibration_curve

    margin = np.concatenate([chosen - rejected, rejected - chosen])
    q = 1 / (1 + np.exp(-margin))
    outcome = np.repeat([1, 0], len(chosen))
    observed, predicted = calibration_curve(outcome, q, n_bins=bins, strategy="uniform")
    counts = np.histogram(q, bins=np.linspace(0, 1, bins + 1))[0]
    errors = np.abs(observed - predicted)
    weights = counts[counts > 0] / counts.sum()
    return float((weights * errors).sum()), float(errors.mean()), float(errors.max())


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 30))
def test_errors_agree_with_scikit_learn(seed: int, pairs: int, bins: int) -> None:
    pytest.importorskip("sklearn")
    chosen, rejected = np.random.default_rng(seed).normal(size=(2, pairs)) * 2
    report = calibration_report(chosen, rejected, bins=bins)
    expected = _by_sklearn(chosen, rejected, bins)
    assert (report.ece, report.ace, report.mce) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=20))
def test_errors_agree_with_a_loop(pairs: list[tuple[float, float]]) -> None:
    """The definition, prediction by prediction."""
    predictions = []
    for won, lost in pairs:
        predictions.append((1 / (1 + math.exp(lost - won)), 1))
        predictions.append((1 / (1 + math.exp(won - lost)), 0))
    ece = 0.0
    for b in range(5):
        inside = [(q, o) for q, o in predictions if b / 5 <= q < (b + 1) / 5 or b == 4 and q == 1]
        ece += abs(sum(o - q for q, o in inside)) / len(predictions)
    value = calibration_report(*zip(*pairs, strict=True), bins=5).ece
    assert value == pytest.approx(ece, abs=1e-9)


def test_a_calibrated_model_has_a_small_error() -> None:
    generator = np.random.default_rng(0)
    margin = generator.normal(size=100_000)
    won = generator.random(margin.size) < 1 / (1 + np.exp(-margin))
    chosen = np.where(won, margin, -margin)
    assert calibration_report(chosen, np.zeros_like(chosen)).ece < 0.005


def test_extremes_and_empty_sets() -> None:
    assert calibration_report(torch.tensor([1e4]), torch.tensor([-1e4])).ece == 0
    wrong = calibration_report(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert wrong.ece == 1 and wrong.log_loss == 2e4
    empty = calibration_report([], [])
    assert set(empty.metrics().values()) == {0.0}
    assert preference_accuracy(torch.zeros(0), torch.zeros(0)) == 0
    assert preference_accuracy(torch.tensor(1.0), torch.tensor(0.0)) == 1


def test_tensors_of_any_kind_and_unchanged() -> None:
    chosen = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    rejected = torch.tensor([0.0, 3.0], dtype=torch.float16)
    assert preference_accuracy(chosen, rejected) == 0.5
    assert chosen.tolist() == [1.0, 2.0] and chosen.requires_grad


@pytest.mark.parametrize(
    ("chosen", "rejected", "bins", "message"),
    [
        ([1.0, 2.0], [1.0], 10, "one length"),
        ([[1.0]], [[2.0]], 10, "one length"),
        ([math.nan], [1.0], 10, "finite numbers, row 0"),
        ([1.0], [0.0], 0, "bins must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(chosen, rejected, bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration_report(chosen, rejected, bins=bins)
