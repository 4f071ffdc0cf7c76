"""From evaluations to rows: each figure in its own cell."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.apo.paper_tables import DataCounts
from tasks.evaluation.apo.report import game_states
from tasks.evaluation.apo.tables import (
    data_counts,
    game_table,
    match_rows,
    policy_rows,
    policy_table,
    reward_tables,
)
from tasks.evaluation.judging.verdict_table import Verdicts

NOBODY = Verdicts({}, {}, {}, ())
"""What is known of a judge where there is none."""


def column(table: Any, name: str) -> list[Any]:
    place = [column.name for column in table.columns].index(name)
    return [row[place] for row in table.rows]


def test_counts_are_the_runs_own(apo_run: Any) -> None:
    counted = data_counts(apo_run.table_1, apo_run.gold, apo_run.policies, apo_run.config)
    assert counted == DataCounts(
        train_pairs=90,
        rm_train_pairs=50,
        policy_train_queries=30,
        dev_pairs=12,
        test_pairs=20,
        gold_answers=3,
        apo_samples=12,
        alignment_samples=120,
        evaluation_samples=8,
    )
    few = apo_run.config.model_copy(update={"max_queries": 10})
    counted = data_counts(apo_run.table_1, apo_run.gold, apo_run.policies, few)
    assert counted.alignment_samples == 40
    many = apo_run.config.model_copy(update={"max_queries": 100})
    counted = data_counts(apo_run.table_1, apo_run.gold, apo_run.policies, many)
    assert counted.alignment_samples == 120


def test_policies_in_the_order_of_the_entries(apo_run: Any) -> None:
    rows = policy_rows(apo_run.config.entries, apo_run.policies, NOBODY)
    assert [(row.name, row.base, row.scoring_rm) for row in rows] == [
        ("start", "-", "-"),
        ("chosen", "-", "-"),
        ("golden-SFT", "start", "-"),
        ("RJS-v1", "start", "RM_Base"),
        ("APO-RJS-v1", "start", "RM_APO-v1"),
    ]
    assert [row.type for row in rows] == ["Base models and opponents"] * 3 + ["Alignment"] * 2
    assert rows[4].scores == {"RM_Test": 1.8, "RM_All": 2.8}
    shares = rows[4].win_rates["RM_Test"]
    assert (shares["win"], shares["lose"]) == (0.6, 0.3)
    assert rows[0].win_rates == {}


def test_only_the_game_is_matched_against_its_baseline(apo_run: Any) -> None:
    (row,) = match_rows(apo_run.config.entries, apo_run.policies, NOBODY)
    assert (row.ours, row.theirs) == ("APO-RJS-v1", "RJS-v1")
    assert (row.verdicts["RM_All"]["win"], row.verdicts["RM_All"]["lose"]) == (0.4, 0.5)


def test_reward_models_in_the_papers_tables(apo_run: Any) -> None:
    third, fourth, lengths = reward_tables(apo_run.reward_models, apo_run.config)
    names = column(third, "Reward Models")
    assert names == ["RM_All", "RM_Test", "RM_Base", "RM_APO-v1"]
    assert column(third, "Dev pairs") == ["seen", "seen", "held out", "held out"]
    assert column(third, "T. Acc") == [82.0, 80.0, 70.0, 72.0]
    assert column(fourth, "Reward Models") == ["RM_Base", "RM_WGAN-v1", "RM_APO-v1"]
    assert column(lengths, "longer wins") == [0.6] * 5
    assert column(lengths, "Reward model") == list(apo_run.reward_models)


def test_without_variants_there_is_no_table_4(apo_run: Any) -> None:
    del apo_run.reward_models["RM_WGAN-v1"]
    keys = [table.key for table in reward_tables(apo_run.reward_models, apo_run.config)]
    assert keys == ["table-3", "length"]


def test_lengths_are_shown_of_policies_alone(apo_run: Any) -> None:
    table = policy_table(apo_run.config.entries, apo_run.policies)
    assert column(table, "tokens") == [10.0, None, 10.0, 10.0, 16.0]
    assert column(table, "KL to start, nats") == [0.0, None, 0.2, 0.3, 0.4]
    assert column(table, "oracle gap closed") == [None, None, None, None, 0.25]
    assert column(table, "95 % high") == [None, None, None, None, 0.4]


def test_the_game_by_epoch_and_role(apo_run: Any) -> None:
    table = game_table(game_states(apo_run.games, apo_run.reward_models))
    players = list(zip(column(table, "Epoch"), column(table, "Reward model"), strict=True))
    expected = [(1, "base"), (1, "before"), (1, "adapted"), (2, "base"), (2, "before")]
    assert players == expected
    assert column(table, "Gold vs fresh") == [0.8, 0.8, 0.9, 0.6, 0.5]


def test_a_judges_verdicts_fill_its_columns(apo_run: Any) -> None:
    said = {"no_verdict": "", "rates": {"win": 0.5, "lose": 0.25, "tie": 0.25}}
    rival = next(one for one in apo_run.config.entries if one.rival)
    judged = Verdicts(
        {f"{rival.name} vs {rival.rival}": said, f"{rival.name} vs start": said,
         "start vs nobody": {"no_verdict": "no verdict: 1 of 9"}}, {}, {}, ()
    )  # fmt: skip
    shares = {"win": 0.5, "lose": 0.25, "tie": 0.25}
    (row,) = match_rows(apo_run.config.entries, apo_run.policies, judged)
    assert row.verdicts["judge"] == shares
    rows = {one.name: one for one in policy_rows(apo_run.config.entries, apo_run.policies, judged)}
    assert rows[rival.name].win_rates["judge"] == shares
    assert judged.shares("start", "nobody") == {} == judged.shares("nobody", "start")
