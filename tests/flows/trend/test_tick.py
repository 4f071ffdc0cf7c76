"""Falls in a row are counted within a series, and told every so many times."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flows.configs.recurring import NotifyConfig
from flows.trend import tick
from tests.flows.trend.rows import row


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
