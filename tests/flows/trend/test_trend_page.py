"""A trend is a table, plain values and a page that say where a series begins."""

from __future__ import annotations

import json
from pathlib import Path

from flows.trend.trend_page import trend_json, trend_table, write_page
from tasks.evaluation.report.tables import shown
from tests.flows.trend.rows import row, series

ROWS = [
    row("apo-1", 0.5, kl=0.2, accuracy=0.7),
    row("apo-2", 0.625, kl=0.3, accuracy=0.8),
    row("apo-3", 0.25, number=2, kl=0.1),
]


def test_each_scheduled_run_is_a_row_that_says_where_a_series_begins() -> None:
    header, cells = shown(trend_table("apo/nightly", ROWS))
    place = header.index("series")
    assert [one[place] for one in cells] == ["1 begins", "1", "2 begins"]
    assert [one[0] for one in cells] == ["apo-1", "apo-2", "apo-3"]
    rate = next(n for n, name in enumerate(header) if name.startswith("win rate"))
    assert [one[rate] for one in cells] == ["0.500", "0.625", "0.250"]


def test_the_page_and_the_plain_values_hold_every_run(tmp_path: Path) -> None:
    known = [series(), series(number=2, run="apo-3")]
    paths = write_page("apo/nightly", known, ROWS, tmp_path)
    assert {path.name for path in paths} == {
        "trend.html", "trend.json", "trend.svg", "trend.png", "trend.csv"
    }  # fmt: skip
    page = (tmp_path / "trend.html").read_text()
    assert all(one.run in page for one in ROWS) and "2 begins" in page
    plain = json.loads((tmp_path / "trend.json").read_text())
    assert plain == json.loads(json.dumps(trend_json("apo/nightly", known, ROWS)))
    assert len(plain["ticks"]) == 3 and "config" not in plain["series"][0]
