"""What scheduled runs are compared by is written once, sealed, and never collected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.stages.retention.roots import Policy, find_roots
from tasks.stages.retention.yardsticks import (
    TrendRecords,
    deployments_with_trend,
    pinned_by_yardsticks,
)
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tests.flows.trend.rows import KEY, row, series


def test_of_two_series_at_once_the_first_stands_and_a_row_is_written_once(home: Home) -> None:
    assert deployments_with_trend(home) == []
    records = TrendRecords(home, "apo-nightly")
    first = records.begin_series(series())
    assert records.begin_series(series(run="another")) == first == series()
    for rate in (0.6, 0.5):
        records.add_row(row("apo-1", rate))
    records.add_row(row("apo-2", 0.4))
    assert records.rows() == [row("apo-1", 0.6), row("apo-2", 0.4)]
    assert deployments_with_trend(home) == ["apo-nightly"]


def test_a_series_is_found_by_its_number_and_what_is_no_record_is_named(home: Home) -> None:
    records = TrendRecords(home, "apo-nightly")
    for number in (1, 2):
        records.begin_series(series(number=number))
    folder = home.root / "trend/apo-nightly/series"
    (folder / "000001.json").unlink()
    assert records.begin_series(series(number=3)).number == 3
    (folder / "000002.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"000002\.json"):
        records.series()


def test_the_pins_of_the_newest_series_are_roots(home: Home) -> None:
    records = TrendRecords(home, "apo-nightly")
    records.begin_series(replace(series(), champion=f"update_policy/{'b' * 64}"))
    records.begin_series(series(number=2))
    found = {root.key: root.why for root in find_roots(home, Policy())}
    assert found == {KEY: "the yardstick of apo/nightly"}
    (path,) = home.root.glob("trend/apo-nightly/series/000002.json")
    path.write_text(path.read_text().replace("nightly", "nightlx"))
    with pytest.raises(CorruptError, match="000002.json"):
        pinned_by_yardsticks(home)
