"""What a person at a terminal sees of a run: bars with rate and time left, a line per stage.

Where the output is not a terminal there are no bars and no colours, only the lines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from flows.runs.pace import Pace
from tasks.settings.printable import printable
from tasks.stages.runs.context import PlannedStage, StageRecord
from tasks.stages.runs.progress import StageProgress

_WHOLE = Column(no_wrap=True)
_NAME = Column(ratio=1, no_wrap=True, overflow="ellipsis")
_WIDE = 100
"""Columns from which on there is room for a bar beside its numbers."""
_BAR = 16
_DRAW_SECONDS = 0.125
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


class _Bars(Progress):
    """The bars of the running stages, and a line under them for the whole run."""

    def __init__(self, console: Console, foot: Callable[[], str]) -> None:
        self._foot = foot
        bar = [BarColumn(bar_width=_BAR)] if console.width >= _WIDE else []
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=_NAME),
            *bar,
            TextColumn("{task.fields[numbers]}", markup=False, table_column=_WHOLE),
            TextColumn("{task.fields[figure]}", style="bright_black", table_column=_WHOLE),
            console=console,
            transient=True,
            expand=True,
            # Rich's own thread may draw between two halves of a print, and leave a line behind.
            auto_refresh=False,
        )

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, then the line."""
        yield from super().get_renderables()
        if foot := self._foot():
            yield Text(foot, style="bright_black", no_wrap=True, overflow="ellipsis")


class TerminalSink:
    """Shows the stages of a run as they happen; a `ProgressSink`."""

    def __init__(self, console: Console, planned: Sequence[PlannedStage] = ()) -> None:
        self.console, self._pace = console, Pace(planned)
        self._bars = _Bars(console, lambda: run_words(self._pace))
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.RLock()

    @contextmanager
    def live(self) -> Iterator[TerminalSink]:
        """Draw the bars during the block, on a terminal only."""
        if not self.console.is_terminal:
            yield self
            return
        is_over = threading.Event()
        artist = threading.Thread(target=self._draw, args=[is_over], daemon=True)
        with self._bars:
            artist.start()
            try:
                yield self
            finally:
                is_over.set()
                artist.join()

    def _draw(self, is_over: threading.Event) -> None:
        while not is_over.wait(_DRAW_SECONDS):
            with self._lock:
                self._bars.refresh()

    def stage_started(self, record: StageRecord) -> None:
        """Begin a bar."""
        with self._lock:
            self._pace.started(record.title)
            if self.console.is_terminal:
                text = printable(record.title)
                bar = self._bars.add_task(text, total=None, numbers="", figure="")
                self._tasks[record.title] = bar

    def stage_finished(self, record: StageRecord) -> None:
        """Replace the bar by one line."""
        with self._lock:
            bar = self._tasks.pop(record.title, None)
            if bar is not None:
                self._bars.remove_task(bar)
            self.console.print(self._line(record), soft_wrap=True)

    def _line(self, record: StageRecord) -> Text:
        """Return what is said of a stage that ended."""
        numbers = stage_words(self._pace.running.get(record.title))
        is_done = record.state in ("completed", "cached")
        self._pace.finished(record.stage, record.title, record.seconds, is_done=is_done)
        mark, style = STATE_STYLES[record.state]
        seconds = "" if record.state == "cached" else f"{record.seconds:.1f} s"
        line = Text.assemble(self._place(record), (f"{mark} ", style), record.title)
        line.append(f"  {record.state} ", style).append(seconds, "bright_black")
        if not self.console.is_terminal and record.state != "cached":
            # Where there are no bars, their numbers stand here.
            told = "; ".join(filter(None, (numbers, left_words(self._pace))))
            line.append(f"  {told}" if told else "")
        if record.error:
            words = error_words(record.state, record.error)
            # What is waited for, and where, is the last thing that a run says.
            words = words.partition(": ")[0] if record.state == "waiting" else words
            line.append(f"  {words}", style)
        return line

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Move a bar."""
        with self._lock:
            stage = self._pace.running.get(title)
            if stage is not None:
                stage.report(done, total, unit)
            if title in self._tasks:
                words = stage_words(stage)
                self._bars.update(self._tasks[title], completed=done, total=total, numbers=words)

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Show the loss behind the bar."""
        if title in self._tasks and "loss" in values:
            self._bars.update(self._tasks[title], figure=f"loss {values['loss']:.3g} nats")

    def note(self, title: str, text: str) -> None:
        """Print one sentence."""
        line = Text.assemble((f"  {title}: ", "bright_black"), text)
        with self._lock:
            self.console.print(line, soft_wrap=True)

    def stopping(self) -> None:
        """Answer the first Ctrl-C."""
        with self._lock:
            self.console.print("stopping after this step; again to stop now", style="yellow")

    def _place(self, record: StageRecord) -> str:
        total = self._pace.total
        number = self._pace.number(record.title)
        return f"[{number:>{len(str(total))}}/{total}] " if total else ""


def error_words(state: str, error: str) -> str:
    """Return why a stage ended; of one that was told to stop, no kind of error is named."""
    return error.partition(": ")[2] if state == "interrupted" else error


def stage_words(stage: StageProgress | None) -> str:
    """Return how far a stage is: `36/120 steps, 2.9/s, 29 s left`; empty while nobody knows."""
    if stage is None or not stage.total:
        return ""
    words = f"{stage.done:,}/{stage.total:,} {stage.unit}"
    if stage.rate:
        words += f", {stage.rate:,.1f}/s"
    if stage.left and stage.done < stage.total:
        words += f", {span(stage.left)} left"
    return words


def left_words(pace: Pace) -> str:
    """Return the time that a run will still take, by past runs; empty when it is not known."""
    seconds, unknown = pace.left()
    if not pace.total or not (seconds or unknown):
        return ""
    new = f"{unknown} stage{'s' if unknown > 1 else ''} never ran here"
    if not unknown:
        return f"about {span(seconds)} left by past runs"
    return f"at least {span(seconds)} left, {new}" if seconds else new


def run_words(pace: Pace) -> str:
    """Return where a run is: `stage 3 of 41; about 5 min 10 s left by past runs`."""
    numbers = sorted(pace.number(title) for title in pace.running)
    if not (numbers and pace.total):
        return ""
    which = f"stage {', '.join(map(str, numbers))} of {pace.total}"
    return "; ".join(filter(None, (which, left_words(pace))))


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
