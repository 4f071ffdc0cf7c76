"""The paper's tables: its columns, and what is missing is said."""

from __future__ import annotations

from dataclasses import replace

from tasks.evaluation.apo.paper_tables import (
    DataCounts,
    MatchRow,
    PolicyRow,
    RewardModelRow,
    match_table,
    table_1,
    table_2,
    table_3,
    table_4,
)
from tasks.evaluation.report.tables import shown


def test_table_1_shows_real_counts() -> None:
    counts = DataCounts(
        train_pairs=86_000,
        rm_train_pairs=20_000,
        policy_train_queries=66_000,
        dev_pairs=10_000,
        test_pairs=4_700,
        gold_answers=19_000,
        apo_samples=76_000,
        alignment_samples=264_000,
        evaluation_samples=4_700,
    )
    table = table_1(counts)
    assert "86,000" in table.note
    text = " ".join(" ".join(row) for row in shown(table)[1])
    for number in ("20,000", "66,000", "10,000", "4,700", "19,000", "76,000", "264,000"):
        assert number in text


def test_table_2_as_in_the_paper() -> None:
    """The paper's row: 36.43% vs 21.40% vs 42.17%; without a judge its cell says so."""
    rows = [
        PolicyRow("Base Models", "Alpaca2", "LLaMA2", "-", {"RM_All": 1.272, "RM_Test": 0.989}),
        PolicyRow(
            "Alpaca2 Align.",
            "Alpaca2-APO",
            "Alpaca2",
            "RM_APO-v1.2",
            {"RM_All": 1.623, "RM_Test": 1.267},
            {"RM_All": {"win": 0.3643, "lose": 0.2140, "tie": 0.4217}},
        ),
    ]
    header, cells = shown(table_2(rows, scorers=["RM_All", "RM_Test"], start="Alpaca2"))
    assert header == [
        "Type",
        "Model Name",
        "LLM Base",
        "Scoring RM",
        "RM_All Score",
        "RM_Test Score",
        "Win Rate (vs Alpaca2), RM_All",
        "Win Rate (vs Alpaca2), RM_Test",
        "Win Rate (vs Alpaca2), judge",
    ]
    assert cells[0][4:] == ["1.272", "0.989", "-", "-", "-"]
    win_rate = "36.43% vs 21.40% vs 42.17%"
    assert cells[1][4:] == ["1.623", "1.267", win_rate, "not measured", "no judge"]
    rows.append(replace(rows[1], win_rates={"judge": {"win": 0.5, "lose": 0.5, "tie": 0.0}}))
    _, cells = shown(table_2(rows, scorers=[], start="Alpaca2"))
    assert [row[-1] for row in cells] == ["-", "not judged", "50.00% vs 50.00% vs 0.00%"]


def test_tables_3_and_4_mark_what_was_seen() -> None:
    rows = [
        RewardModelRow("RM_Test", 0.7234, 0.010, 0.7569, 0.025, seen=True),
        RewardModelRow("RM_Base", 0.6304, 0.019, 0.6318, 0.014),
    ]
    header, cells = shown(table_3(rows))
    assert header[:5] == ["Reward Models", "T. Acc", "T. ECE", "D. Acc", "D. ECE"]
    assert cells == [
        ["RM_Test", "72.34", "0.010", "75.69", "0.025", "seen"],
        ["RM_Base", "63.04", "0.019", "63.18", "0.014", "held out"],
    ]
    assert shown(table_4(rows)) == (header, cells)
    assert table_4(rows).key == "table-4"


def test_matches() -> None:
    rows = [MatchRow("APO_DPO", "DPO", {"judge": {"win": 0.49, "lose": 0.20, "tie": 0.31}})]
    assert shown(match_table(rows, scorers=["RM_All"]))[1] == [
        ["APO_DPO vs DPO", "not measured", "49.00% vs 20.00% vs 31.00%"]
    ]
