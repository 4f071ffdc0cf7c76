"""How the scheduled runs of a deployment did, as a table, as plain values and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.evaluation.report import figure_style as style
from tasks.evaluation.report.document import Plot, Report, render_html
from tasks.evaluation.report.tables import Column, Table
from tasks.stages.retention.yardsticks import Series, TickRow
from tasks.storage.files import write_atomic, write_json

_DRAWN = {
    "win_rate": ("win rate against the first champion", ".3f"),
    "accuracy": ("accuracy of the reward model", ".3f"),
    "ece": ("ECE of the reward model", ".3f"),
    "kl": ("KL to the pinned start, nats", ".3f"),
    "length": ("length, tokens", ".1f"),
    "hours": ("hours", ".3f"),
    "dollars": ("dollars", ".2f"),
}
"""What is shown of each run: its name, and how its numbers are written."""
_PANEL = (4.4, 2.6)


def trend_table(deployment: str, rows: Sequence[TickRow]) -> Table:
    """Return a row per scheduled run, which says where a series begins."""
    columns = [Column("run"), Column("due"), Column("series")]
    columns += [Column(*shown) for shown in _DRAWN.values()]
    columns.append(Column("gate"))
    cells = [
        (
            row.run,
            row.due[:16].replace("T", " "),
            f"{row.series} begins" if place in _beginnings(rows) else str(row.series),
            *(row.metrics.get(name) for name in _DRAWN),
            row.gate,
        )
        for place, row in enumerate(rows)
    ]
    note = "Ties count half. Figures of one series compare: same prompts, same tester, same rival."
    return Table("trend", f"Scheduled runs of {deployment}", tuple(columns), tuple(cells), note)


def trend_json(
    deployment: str, series: Sequence[Series], rows: Sequence[TickRow]
) -> dict[str, Any]:
    """Return the same as plain values; of a series all but the configuration that it pinned."""
    pinned = [{name: value for name, value in asdict(one).items() if name != "config"}
              for one in series]  # fmt: skip
    return {"deployment": deployment, "series": pinned, "ticks": [asdict(row) for row in rows]}


def write_page(
    deployment: str, series: Sequence[Series], rows: Sequence[TickRow], folder: Path
) -> list[Path]:
    """Write trend.html, trend.json and the drawing, of at least one run; return their paths."""
    newest = series[-1]
    drawing = _drawing(rows, folder)
    report = Report(
        f"Trend of {deployment}",
        facts={
            "series": f"{newest.number}, begun by {newest.run}",
            "compared with": f"the policy of {newest.champion_run}",
            "pins": ", ".join(f"{name} {key}" for name, key in rows[-1].pins.items() if key),
        },
        tables=(trend_table(deployment, rows),),
        plots=(drawing,),
    )
    page, plain = folder / "trend.html", folder / "trend.json"
    write_atomic(page, render_html(report))
    write_json(plain, trend_json(deployment, series, rows))
    return [page, plain, *drawing.files]


def _drawing(rows: Sequence[TickRow], folder: Path) -> Plot:
    """Draw what was measured, a panel each; a dotted line is where a series begins."""
    from matplotlib.ticker import MaxNLocator

    drawn = {
        name: shown[0]
        for name, shown in _DRAWN.items()
        if any(row.metrics.get(name) for row in rows)
    }
    with style.new_figure(drawn, panel=_PANEL, columns=2) as (figure, panels):
        for axes, (name, title) in zip(panels, drawn.items(), strict=True):
            for place in _beginnings(rows):
                axes.axvline(place + 1, color="#888888", linestyle=":", linewidth=1)
            for number in sorted({row.series for row in rows}):
                found = [
                    (place, row.metrics[name])
                    for place, row in enumerate(rows, 1)
                    if row.series == number and name in row.metrics
                ]
                axes.plot(*zip(*found, strict=True), "o-", color=style.COLOURS[0], markersize=4)
            axes.set(title=title, xlabel="scheduled run", xlim=(0.5, len(rows) + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        values = [
            {"run": row.run, "series": row.series, **{n: row.metrics.get(n) for n in _DRAWN}}
            for row in rows
        ]
        files = style.save_figure(figure, folder, "trend", values)
    caption = "Each point is a scheduled run; a dotted line is where a series begins."
    return Plot("Week by week", files, caption)


def _beginnings(rows: Sequence[TickRow]) -> list[int]:
    """Return the places of the rows with which a series begins."""
    return [
        place for place, row in enumerate(rows) if not place or row.series != rows[place - 1].series
    ]
