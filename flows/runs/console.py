"""The terminal as we write to it: whatever is printed steers nothing and holds no password."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import Segment

from tasks.settings.passwords import without_passwords
from tasks.settings.printable import STEERING, printable

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def open_console(**options: Any) -> Console:
    """Return a console that shows what steers a terminal instead of passing it on.

    Names of files and columns, labels and records are printed in many places; this way none of
    them has to think of it.

    Args:
        options: As those of rich's `Console`.
    """
    console = Console(markup=False, emoji=False, **options)
    console.push_render_hook(_Shown())
    return console


def quiet_libraries() -> None:
    """Keep the lines and bars of other libraries off the terminal, where ours say the same.

    They read this when they are imported; Prefect's pages keep its lines. Telemetry is off, and so
    is its notice.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def show_warnings() -> None:
    """Print warnings of ours on stderr, each once; Prefect's own handler keeps silent there."""
    logger = logging.getLogger("sparring")
    logger.propagate = False  # or it is printed twice where the user lets Prefect speak
    if not any(isinstance(one, _Warnings) for one in logger.handlers):
        logger.addHandler(_Warnings(logging.WARNING))


def print_json(values: Any) -> None:
    """Print a command's document on stdout: plain values or dataclasses; nothing in it steers.

    No password is in it either.
    """
    text = without_passwords(json.dumps(values, indent=2, ensure_ascii=False, default=_plain))
    lines = [
        STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n")
    ]
    print("\n".join(lines))


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


class _Warnings(logging.Handler):
    """Prints to what is stderr at that moment: rich's while bars are drawn, which stay below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, escaped and without passwords."""
        text = without_passwords(printable(record.getMessage()))
        with suppress(OSError, ValueError):  # it is closed: the terminal is gone
            print(f"sparring: {text}", file=sys.stderr)


class _Shown(RenderHook):
    """Escapes what is printed, after it was laid out and before colours are added."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [one if isinstance(one, Control) else _Escaped(one) for one in renderables]


class _Escaped:
    """Another renderable with its text escaped."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text, keep="\n\t")
            # Most of what is printed holds no address; a live table is printed often.
            text = without_passwords(text) if "://" in text else text
            yield Segment(text, segment.style, segment.control)
