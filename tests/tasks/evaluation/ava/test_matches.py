"""Who meets whom in the paper's Tables 2 to 5."""

from __future__ import annotations

import pytest

from tasks.evaluation.ava.arm_lines import lines_of
from tasks.evaluation.ava.config import AvaEntry
from tasks.evaluation.ava.matches import match_findings, match_tables, matches_of
from tests.tasks.evaluation.ava.evaluations import START, entry, evaluation

EVERY = [
    START,
    AvaEntry(name="chosen", line="chosen", kind="chosen"),
    *(
        entry(f"{how} w/ {name}", kind, objective)
        for how, kind in (("BoN", "best_of_n"), ("PPO", "ppo"))
        for name, objective in (
            ("AVA-p", "ava_p"),
            ("Bradley-Terry", "bradley_terry"),
            ("Pref-Trans", "preference_transformer"),
        )
    ),
    entry("AVA-p", "direct", "ava_p"),
    entry("DPO", "direct", "dpo"),
    entry("SFT", "direct", "sft"),
    entry("AVA-d on demonstrations", "direct", "ava_d", "demonstrations"),
    entry("SFT on demonstrations", "direct", "sft", "demonstrations"),
    entry("DPO w/ AfD", "direct", "dpo", "afd"),
    entry("AVA-p w/ AfD", "direct", "ava_p", "afd"),
]
FOUND = {one.name: evaluation([0, 0, 0, 0], "abcd") for one in EVERY}
FOUND["AVA-p s0"] = evaluation([1, 1, 1, -1], "wxyz")


@pytest.mark.parametrize(
    ("table", "pairs"),
    [
        (
            "table-2",
            {
                ("BoN w/ AVA-p", "start"),
                ("BoN w/ AVA-p", "BoN w/ Bradley-Terry"),
                ("BoN w/ AVA-p", "BoN w/ Pref-Trans"),
            },
        ),
        (
            "table-3",
            {
                ("PPO w/ AVA-p", "SFT"),
                ("PPO w/ AVA-p", "PPO w/ Bradley-Terry"),
                ("PPO w/ AVA-p", "PPO w/ Pref-Trans"),
            },
        ),
        ("table-4", {("AVA-p", "DPO"), ("AVA-p", "SFT")}),
        (
            "table-5",
            {
                ("AVA-d on demonstrations", "SFT on demonstrations"),
                ("AVA-d on demonstrations", "DPO w/ AfD"),
                ("AVA-d on demonstrations", "AVA-p w/ AfD"),
            },
        ),
    ],
)
def test_each_table_has_the_papers_opponents(table: str, pairs: set[tuple[str, str]]) -> None:
    matches = matches_of(lines_of(EVERY), FOUND, ["oracle"])
    found = [(one.ours.name, one.theirs.name) for one in matches if one.table == table]
    assert set(found) == pairs and len(found) == len(pairs)


def test_a_table_shows_shares_intervals_and_the_other_judges() -> None:
    lines = lines_of(EVERY)
    matches = matches_of(lines, FOUND, ["oracle", "RM_Test"])
    tables = {one.key: one for one in match_tables(matches)}
    assert list(tables) == ["table-2", "table-3", "table-4", "table-5"]
    (row,) = [one for one in tables["table-4"].rows if one[1] == "DPO"]
    # Won on three of four prompts and lost on one: the lead's error is 1 / sqrt(4).
    assert row[:3] == ("AVA-p", "DPO", "1 and 1")
    assert row[3:7] == ("75.0 ± 25.0", "0.0 ± 0.0", "25.0 ± 25.0", "0.0 ± 0.0")
    assert row[7:9] == ("-48.0 to +148.0", "undecided")
    assert row[9] == "25.0 / 0.0 / 75.0"
    assert tables["table-4"].columns[-1].name == "RM_Test, win / tie / lose"
    (said,) = [
        one for one in match_findings(matches, "oracle") if one.startswith("AVA-p against D")
    ]
    assert said == (
        "AVA-p against DPO by oracle: wins 75.0%, loses 25.0% (lead +50.0 points, 95 %: -48.0 to "
        "+148.0): undecided"
    )


def test_a_run_without_both_sides_has_no_table() -> None:
    lines = lines_of([START, entry("DPO", "direct", "dpo")])
    assert not list(match_tables(matches_of(lines, FOUND, ["oracle"])))
