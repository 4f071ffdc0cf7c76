"""A series pins what its first run measured with, and another yardstick begins another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flows.trend.yardstick import series_of
from tasks.evaluation.config import EvaluationConfig, YardstickConfig
from tasks.stages.retention.yardsticks import Series, TrendRecords
from tasks.stages.runs.aliases import AliasRecord, move_alias
from tasks.stages.runs.context import LoggingSink, RunContext
from tasks.storage.home import Home


class Notes(LoggingSink):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, title: str, text: str) -> None:
        self.said.append(text)


def draft(run: str, **changed: Any) -> AliasRecord:
    policy = {"policy": f"update_policy/{run}"}
    values = {"basis": {"data": f"prepare_data/{run}"}, "config": {"seed": 1}, **changed}
    return AliasRecord(
        0, "apo", "candidate", policy, policy, run, "", "it ended well", {}, **values
    )


def test_a_series_stays_until_the_yardstick_changes(home: Home) -> None:
    notes = Notes()
    run, records = RunContext(home, progress=notes), TrendRecords(home, "apo-nightly")

    def ask(one: AliasRecord, number: int) -> Series:
        return series_of(run, records, "apo/nightly", YardstickConfig(series=number), one)

    first = ask(draft("apo-1"), 1)
    assert (first.number, first.run, first.champion_run) == (1, "apo-1", "apo-1")
    assert ask(draft("apo-2"), 1) == first and len(notes.said) == 1
    move_alias(home, replace(draft("apo-2"), alias="champion"))
    second = ask(draft("apo-3"), 2)
    assert (second.number, second.run, second.champion) == (2, "apo-3", "update_policy/apo-2")
    assert "series 2 of apo/nightly begins" in notes.said[1]
    assert "do not compare with those of 1" in notes.said[1]


def test_the_next_series_follows_the_newest_whatever_was_removed(home: Home) -> None:
    run, records = RunContext(home, progress=Notes()), TrendRecords(home, "apo-nightly")
    for number in (1, 2):
        series_of(run, records, "apo/nightly", YardstickConfig(series=number), draft("apo-1"))
    (home.root / "trend/apo-nightly/series/000001.json").unlink()
    found = series_of(run, records, "apo/nightly", YardstickConfig(series=3), draft("apo-2"))
    assert (found.number, found.run) == (3, "apo-2")


def test_true_takes_the_defaults_and_false_is_none() -> None:
    assert EvaluationConfig.model_validate({"yardstick": True}).yardstick == YardstickConfig()
    assert EvaluationConfig.model_validate({"yardstick": False}).yardstick is None
    assert EvaluationConfig().yardstick is None
