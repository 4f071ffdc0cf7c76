"""`sparring trend` shows every deployment, or those of one flow."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from flows.cli.comparing.trends import show_trend
from tasks.settings.errors import ConfigError
from tasks.stages.retention.yardsticks import TrendRecords
from tasks.storage.home import Home
from tests.flows.trend.rows import row, series


def test_the_rows_of_a_flow_are_shown(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    show_trend(None, console, as_json=False)
    assert "set `evaluation.yardstick: true` and deploy" in capsys.readouterr().out
    records = TrendRecords(home, "apo-nightly")
    records.begin_series(series())
    records.add_row(row("apo-1", 0.625))
    show_trend("apo", console, as_json=False)
    said = capsys.readouterr().out
    assert "Scheduled runs of apo/nightly" in said and "0.625" in said and "1 begins" in said
    show_trend("apo", console, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in found["ticks"]] == ["apo-1"]
    show_trend("exo", console, as_json=True)
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(ConfigError, match="there is no flow 'nothing'"):
        show_trend("nothing", console, as_json=False)
