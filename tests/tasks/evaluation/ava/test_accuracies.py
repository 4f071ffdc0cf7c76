"""Accuracies of the arms' reward models, by hand on ten pairs."""

from __future__ import annotations

import pytest

from tasks.evaluation.ava.accuracies import (
    accuracy_findings,
    accuracy_lead,
    accuracy_table,
    reward_lines,
)
from tests.tasks.evaluation.ava.evaluations import measured, reward

REWARDS = [
    reward("AVA-p", "ava_p"),
    reward("AVA-p", "ava_p", seed=1),
    reward("AVA-p w/o cer", "ava_p", ablation="cer"),
    reward("Bradley-Terry", "bradley_terry"),
    reward("Pref-Trans", "preference_transformer"),
    reward("AVA-d on demonstrations", "ava_d", data="demonstrations"),
]
ALL, HALF = [1.0] * 10, [1.0, -1.0] * 5
FOUND = {
    "AVA-p s0": measured(ALL, 1.0, 0.9, logp_accuracy=0.4, logp_accuracy_se=0.1),
    "AVA-p s1": measured(HALF, 0.5, 0.7, logp_accuracy=0.6, logp_accuracy_se=0.1),
    "AVA-p w/o cer s0": measured(HALF, 0.5, 0.5),
    "Bradley-Terry s0": measured(HALF, 0.5, 0.3),
    "Pref-Trans s0": measured(ALL, 0.2, 1.0),
    "AVA-d on demonstrations s0": measured(ALL, 1.0, 1.0),
}


def test_each_objective_has_the_readings_that_it_trains() -> None:
    table = accuracy_table(reward_lines(REWARDS), FOUND)
    rows = {row[0]: row for row in table.rows}
    assert [column.name for column in table.columns[3:6]] == [
        "test, last (%)",
        "test, return (%)",
        "test, logp (%)",
    ]
    # Seeds 1.0 and 0.5: sqrt(0.25² + 0.1²) of their own and of the pairs.
    assert rows["AVA-p"][2:6] == (2, "75.0 ± 26.9", "80.0 ± 14.1", "50.0 ± 14.1")
    assert rows["Bradley-Terry"][3:6] == ("50.0 ± 10.0", None, None)
    assert rows["Pref-Trans"][3:6] == (None, "100.0 ± 10.0", None)
    assert rows["AVA-p w/o cer"][5] is None
    assert rows["always the longer answer"][3] == "55.0 ± 5.0"
    assert rows["AVA-p"][6] == pytest.approx(0.2)


def test_a_whole_ava_meets_baselines_and_less_of_itself_on_the_same_data() -> None:
    said = list(accuracy_findings(reward_lines(REWARDS), FOUND))
    heads = [one.partition(" on the test")[0] for one in said]
    assert heads == [
        "accuracy of AVA-p against AVA-p w/o cer",
        "accuracy of AVA-p against Bradley-Terry",
        "accuracy of AVA-p against Pref-Trans",
    ]


def test_a_lead_is_paired_by_prompt_and_over_seeds() -> None:
    """Seed 0 leads by a half of the pairs, seed 1 by none."""
    ours, _, theirs, *_ = reward_lines(REWARDS)
    lead = accuracy_lead(ours, theirs, FOUND)
    assert lead.value == pytest.approx(0.25) and lead.count == 2
    # Of seeds 0.25, of pairs sqrt(10/36)/sqrt(10) for seed 0 and 0 for seed 1.
    assert lead.standard_error == pytest.approx((0.25**2 + (1 / 36) / 2) ** 0.5)
