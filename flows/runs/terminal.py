"""What a person at a terminal sees of a run: bars with rate and time left, a line per stage.

Where the output is not a terminal there are no bars and no colours, only the lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from tasks.settings.printable import printable
from tasks.stages.runs.context import StageRecord

STATE_STYLES = {
    "cached": ("=", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "interrupted": ("‖", "yellow"),
    "running": ("…", "yellow"),
    "done": ("✓", "green"),
    "partly done": ("◐", "yellow"),
    "to run": ("·", "white"),
    "waiting": ("…", "bright_black"),
}
"""Mark and colour of each state of a stage, in a run and in a plan."""


class _Rate(ProgressColumn):
    """Units per second, as measured lately."""

    def render(self, task: Task) -> Text:
        """Return `12.3 steps/s`."""
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text(f"{speed:,.1f} {unit}/s" if speed else "", style="bright_black")


class TerminalSink:
    """Shows the stages of a run as they happen; a `ProgressSink`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            _Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figure]}", style="bright_black"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def live(self) -> Iterator[TerminalSink]:
        """Draw the bars during the block, on a terminal only."""
        with self._bars if self.console.is_terminal else nullcontext():
            yield self

    def stage_started(self, record: StageRecord) -> None:
        """Begin a bar."""
        if self.console.is_terminal:
            bar = self._bars.add_task(printable(record.title), total=None, unit="", figure="")
            self._tasks[record.title] = bar

    def stage_finished(self, record: StageRecord) -> None:
        """Replace the bar by one line."""
        bar = self._tasks.pop(record.title, None)
        if bar is not None:
            self._bars.remove_task(bar)
        mark, style = STATE_STYLES[record.state]
        seconds = "" if record.state == "cached" else f"{record.seconds:.1f} s"
        line = Text.assemble((f"{mark} ", style), record.title, (f"  {record.state} ", style))
        line.append(seconds, style="bright_black")
        if record.error:
            line.append(f"  {record.error}", style="red")
        self.console.print(line, soft_wrap=True)

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Move a bar."""
        if title in self._tasks:
            self._bars.update(self._tasks[title], completed=done, total=total, unit=unit)

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Show the loss behind the bar."""
        if title in self._tasks and "loss" in values:
            self._bars.update(self._tasks[title], figure=f"loss {values['loss']:.3f}")

    def note(self, title: str, text: str) -> None:
        """Print one sentence."""
        self.console.print(Text.assemble((f"  {title}: ", "bright_black"), text), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table for the terminal; cells are shown as they are, without markup."""
    drawn = Table(*columns, header_style="bold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return drawn


def state_text(state: str) -> Text:
    """Return a state with its mark and colour."""
    mark, style = STATE_STYLES.get(state, ("?", "white"))
    return Text(f"{mark} {state}", style=style)


def span(seconds: float | None) -> str:
    """Return a time for people: `12 s`, `3 min 05 s`, `2 h 10 min`; empty when unknown."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
