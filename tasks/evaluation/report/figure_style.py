"""What every plot is drawn with: one style, one legend, and PNG, SVG and CSV on the disk.

The same numbers give the same bytes, so that a plot can be an artifact: no dates, no random ids, no
display. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.evaluation.report.tables import csv_text
from tasks.storage.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tasks.evaluation.metrics.estimates import Estimate

# Okabe and Ito's colours, which stay apart for colour-blind readers; markers carry the same.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colour of each line of a plot, by its number; they begin again after the last."""
_DPI = 150
MARKERS = "osD^vPX"
"""The marker of each line, by its number."""
GREY = "#6b6b6b"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.hashsalt": "sparring",
    "text.parse_math": False,  # a model may be called "a$b"
}


def shared_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Draw one legend for all panels, each label once, below them, where it covers no line."""
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if entries:
        fits = int(figure.get_figwidth() / 2.6)  # an entry is rarely wider than 2.6 inches
        columns = max(1, min(fits, len(entries)))
        extra_rows = -(-len(entries) // columns) - 1
        figure.set_figheight(figure.get_figheight() + 0.22 * extra_rows)
        handles, labels = list(entries.values()), list(entries)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def trajectory(
    axes: Axes,
    across: Sequence[Estimate],
    up: Sequence[Estimate],
    *,
    label: str | None,
    colour: str,
    marker: str,
    dash: str,
) -> None:
    """Draw estimates against estimates, connected in their order, with one standard error each.

    Only a solid line has filled markers.
    """
    axes.errorbar(
        [one.value for one in across],
        [one.value for one in up],
        xerr=[one.standard_error for one in across],
        yerr=[one.standard_error for one in up],
        label=label,
        color=colour,
        linestyle=dash,
        marker=marker,
        markersize=4.5,
        markerfacecolor=colour if dash == "-" else "white",
        linewidth=0.9,
        elinewidth=0.7,
        alpha=0.9,
    )


@contextmanager
def new_figure(
    panels: Mapping[str, object], *, panel: tuple[float, float], columns: int
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a figure with a panel per entry, in our style, bound to no display.

    Args:
        panels: The panels, at least one; only their number counts.
        panel: Width and height of one panel, inches.
        columns: How many panels stand side by side at most.

    Yields:
        The figure and one axes per entry.

    Raises:
        ValueError: If there is nothing to draw.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("nothing to draw: expected at least one panel")
    count = len(panels)
    down = -(-count // columns)
    across = -(-count // down)  # as even as it goes: four panels make 2 x 2, not 3 + 1
    with matplotlib.rc_context(STYLE):
        size = (panel[0] * across, panel[1] * down + 0.4)
        figure = Figure(size, dpi=_DPI, layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for spare in grid[count:]:
            spare.set_axis_off()
        yield figure, list(grid[:count])


def save_figure(
    figure: Figure, folder: Path, name: str, rows: Sequence[Mapping[str, object]]
) -> list[Path]:
    """Render into memory and let the store write: PNG, SVG and the numbers.

    Args:
        figure: The figure, from `new_figure`, inside its block.
        folder: Where NAME.png, NAME.svg and NAME.csv go.
        name: The files' stem.
        rows: The numbers; all rows have the keys of the first.

    Returns:
        The three paths, PNG first.
    """
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg", "csv")]
    # Once for both files: it takes as long as a drawing, and savefig lets each draw twice.
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=False):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], dpi=_DPI, metadata=metadata)
        write_atomic(path, buffer.getvalue())
    header = list(rows[0]) if rows else []
    write_atomic(paths[2], csv_text(header, [list(row.values()) for row in rows]))
    return paths
