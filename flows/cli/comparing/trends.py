"""What `sparring trend` prints: how the scheduled runs of each deployment did."""

from __future__ import annotations

from rich.console import Console

from flows.registry import recorded_flow
from flows.runs.console import print_json
from flows.runs.tables import table
from flows.trend.trend_page import trend_json, trend_table
from tasks.evaluation.report.tables import shown, without_empty_columns
from tasks.stages.retention.yardsticks import TrendRecords, deployments_with_trend
from tasks.storage.home import current_home


def show_trend(flow: str | None, console: Console, *, as_json: bool) -> None:
    """Print a table per deployment; with `as_json` a list of their series and rows.

    Args:
        flow: The flow whose deployments are shown, `PROJECT.FLOW` in a project; None: every one.
        console: Where it is printed.
        as_json: Print one JSON document.

    Raises:
        ConfigError: There is no such flow.
        CorruptError: A record is damaged.
    """
    if flow is not None:
        recorded_flow(flow)
    home, found = current_home(), []
    for name in deployments_with_trend(home):
        records = TrendRecords(home, name)
        series, rows = records.series(), records.rows()
        if series and flow in (None, series[-1].flow):
            found.append((series[-1].deployment, series, rows))
    if as_json:
        print_json([trend_json(*one) for one in found])
        return
    for deployment, _, rows in found:
        drawn = without_empty_columns(trend_table(deployment, rows))
        header, cells = shown(drawn)
        console.print(drawn.title, highlight=False, markup=False)
        console.print(table(header, cells))
        console.print(drawn.note, highlight=False)
    if not found:
        whose = f" of {flow}" if flow else ""
        console.print(
            f"no scheduled run{whose} was measured by a yardstick yet: set `evaluation.yardstick: "
            "true` and deploy",
            highlight=False,
            soft_wrap=True,
        )
