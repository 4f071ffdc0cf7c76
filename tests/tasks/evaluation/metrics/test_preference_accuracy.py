"""Accuracy beside a length-only baseline."""

from __future__ import annotations

import pytest

from tasks.evaluation.metrics.preference_accuracy import preference_report


def test_by_hand() -> None:
    """Four pairs: right, tied, wrong, right; chosen longer in pairs 0 and 2, equal in 3.

    Accuracy 2/4, error sqrt(.25 / 4) = .25. Longer wins 2/4. Within 10 %: pairs 2 (100 against 95,
    wrong) and 3 (equal, right): 1/2.
    """
    report = preference_report(
        [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0], [20, 5, 100, 7], [10, 9, 95, 7]
    )
    assert report.accuracy.value == 0.5
    assert report.accuracy.standard_error == 0.25
    assert report.longer_wins.value == 0.5
    assert (report.length_matched.value, report.length_matched.count) == (0.5, 2)
    assert report.ties == 0.25
    assert report.metrics()["length_matched_pairs"] == 2.0


def test_no_pairs() -> None:
    assert preference_report([], [], [], []).accuracy.value == 0


def test_columns_must_fit() -> None:
    with pytest.raises(ValueError, match="one length"):
        preference_report([1.0], [0.0], [1, 2], [1, 2])
