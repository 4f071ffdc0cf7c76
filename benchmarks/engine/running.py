"""Running rows one after the other, each with its workers, and showing what they found."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.engine.rows import Row, Side
from benchmarks.engine.setting import Setting
from benchmarks.engine.table import circumstances, figures, markdown
from benchmarks.engine.turns import SideError, Worker, in_turn


@dataclass(frozen=True)
class Run:
    """What all rows of a table share."""

    setting: Setting
    """Models and data."""
    folder: Path
    """The setting's prepared folder; the workers' own output goes to `logs` in it."""
    pairs: int = 3
    """Fewest pairs of blocks per row."""
    most: int = 7
    """Pairs after which a row ends even if its ratios still spread."""

    def worker(self, stack: ExitStack, side: Side, label: str) -> Worker:
        """Start a side; it ends with the stack."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{label}.log"
        worker = Worker(side.function, self.setting, self.folder, side.options, log)
        return stack.enter_context(worker)


def measured(run: Run, row: Row) -> dict[str, Any]:
    """Return the figures of one row.

    Raises:
        SideError: a side ended early, or they did not do the same work.
    """
    with ExitStack() as stack:
        ours = partial(run.worker, stack, row.ours, f"{row.name}-ours")
        peers = [
            partial(run.worker, stack, side, f"{row.name}-peer-{number}")
            for number, side in enumerate(row.peers)
        ]
        mine, theirs, chosen = in_turn(
            ours, peers, pairs=run.pairs, most=run.most, say=partial(_say, row.name)
        )
    return figures(row, mine, theirs, chosen)


def table(run: Run, rows: Sequence[Row], output: Path | None) -> bool:
    """Measure rows and print the table; return whether every row could be measured.

    A row that fails is named at the end; the output, if given, receives everything as JSON.
    """
    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    about = circumstances()
    for row in rows:
        try:
            found.append(measured(run, row))
        except SideError as error:
            failed[row.name] = str(error)
            _say(row.name, str(error))
        if output is not None:
            # After every row: an hour's figures are not lost to whatever ends the last one.
            whole = {"about": about, "rows": found, "failed": failed}
            output.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n")
    print(markdown(found))
    for name, reason in failed.items():
        print(f"\nnot measured: {name}: {reason.splitlines()[0]}")
    return not failed


def profile(run: Run, row: Row) -> str:
    """Return where one block of our side of a row spends its time."""
    with ExitStack() as stack:
        worker = run.worker(stack, row.ours, f"{row.name}-profile")
        worker.loaded()
        worker.block()
        return str(worker.block("profile")["profile"])


def end_with_workers() -> None:
    """Let SIGTERM end this process as an error does: its workers with it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def chosen_rows(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    """Return the rows of these names, or all.

    Raises:
        SystemExit: there is no such row; the message lists them.
    """
    by_name = {row.name: row for row in rows}
    missing = [name for name in names or () if name not in by_name]
    if missing:
        sys.exit(f"there is no row {missing[0]}; the rows are {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else list(rows)


def _say(name: str, text: str) -> None:
    print(f"[{name}] {text}", file=sys.stderr, flush=True)
