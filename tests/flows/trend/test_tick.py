"""Falls in a row are counted within a series, and told every so many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flows.configs.recurring import NotifyConfig, RecurringConfig, ScheduleConfig
from flows.trend import tick
from tasks.stages.runs.aliases import move_alias
from tasks.stages.runs.context import RunContext
from tasks.storage.home import Home
from tests.flows.trend.rows import row
from tests.flows.trend.test_yardstick import draft


@pytest.mark.parametrize(
    ("rates", "falls"),
    [([], 0), ([0.5], 0), ([0.5, 0.4], 1), ([0.5, 0.4, 0.4], 0), ([0.3, 0.6, 0.5, 0.4], 2)],
)
def test_falls_are_counted_back_from_the_newest(rates: Sequence[float], falls: int) -> None:
    assert tick.falls_in_a_row([row(f"apo-{n}", rate) for n, rate in enumerate(rates)]) == falls


def test_another_series_begins_anew() -> None:
    assert tick.falls_in_a_row([row("apo-1", 0.9), row("apo-2", 0.1, number=2)]) == 0


def test_falls_are_told_every_so_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(tick, "tell", lambda _, __, subject, ___: said.append(subject))
    rows = [row(f"apo-{n}", 0.9 - n / 10) for n in range(6)]
    notify = NotifyConfig(block="slack-webhook/team", falling_times=2)
    for count in range(1, 7):
        tick.tell_of_falls(notify, "apo/nightly", rows[:count])
        tick.tell_of_falls(None, "apo/nightly", rows[:count])
    assert said == [f"the win rate of apo/nightly fell {n} times in a row" for n in (2, 4)]


@pytest.mark.parametrize(("made", "gate"), [("apo-1", "promoted"), ("apo-0", "")])
def test_a_champion_is_not_held_against_itself(
    made: str, gate: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the move of the alias and the row, and where nothing changed."""
    told = []
    monkeypatch.setattr(tick, "deployment_name", lambda _: "nightly")
    monkeypatch.setattr(tick, "tell_decision", lambda *_, holds: told.append(holds))
    move_alias(home, replace(draft(made), alias="champion", models=draft("apo-1").models))
    config = RecurringConfig(schedule=ScheduleConfig(cron="0 3 * * *", promote="gate"))
    found = tick.weigh_offer(RunContext(home), config, None, draft("apo-1"))
    assert found and found.decision is None
    assert tick._decide(RunContext(home), found, draft("apo-1")) == gate
    assert told == [True] * bool(gate)
