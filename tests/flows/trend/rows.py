"""A series and rows of scheduled runs, as they are written down."""

from __future__ import annotations

from typing import Any

from tasks.stages.retention.yardsticks import Series, TickRow

KEY = "a" * 64


def series(**changed: Any) -> Series:
    values = {
        "number": 1,
        "deployment": "apo/nightly",
        "flow": "apo",
        "yardstick": "digest",
        "run": "apo-1",
        "time": "2026-11-01T03:10:00+00:00",
        "champion": f"update_policy/{KEY}",
        "champion_run": "apo-0",
        "basis": {"data": f"prepare_data/{KEY}"},
        "config": {"seed": 0},
    }
    return Series(**{**values, **changed})


def row(run: str, win_rate: float, number: int = 1, **metrics: float) -> TickRow:
    found = {"win_rate": win_rate, "win_rate_low": 0.1, "win_rate_high": 0.9, **metrics}
    pins = {"prompts": f"prepare_data/{KEY}"}
    return TickRow(run, number, "2026-11-01T03:00:00+00:00", found, pins, "refused")
