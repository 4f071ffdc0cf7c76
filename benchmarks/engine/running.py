"""Running rows one after the other, each with its workers, and showing what they found."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.engine.load import Load
from benchmarks.engine.peers import Side
from benchmarks.engine.preparing import prepared
from benchmarks.engine.rows import Row
from benchmarks.engine.search import Choice, SideError, Tried, best_setting, described
from benchmarks.engine.series import Series
from benchmarks.engine.setting import Setting
from benchmarks.engine.table import circumstances, figures, markdown
from benchmarks.engine.turns import Worker, in_turn
from tasks.settings.errors import ConfigError
from tasks.storage.digests import sha256_json


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
    real: Setting | None = None
    """That of the rows at real size, prepared beside it when the first begins; None: the same."""

    def setting_of(self, row: Row) -> Setting:
        """Return what a row is measured in."""
        return self.real if row.real and self.real is not None else self.setting

    def worker(self, stack: ExitStack, row: Row, side: Side, label: str) -> Worker:
        """Start a side; it ends with the stack."""
        setting = self.setting_of(row)
        folder = self.folder
        if setting is not self.setting:
            folder = prepared(setting, self.folder.parent, "cpu")
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        worker = Worker(side, setting, folder, logs / f"{row.name}-{label}.log")
        return stack.enter_context(worker)


def measured(run: Run, row: Row) -> dict[str, Any]:
    """Return the figures of one row: its peer's best setting first, then both sides in turn.

    Where the peer is not installed, ours is measured alone.

    Raises:
        SideError: a side ended early, or they did not do the same work.
        ConfigError: the row's model or data are not there.
    """
    missing, tried = row.peer.missing(), list[Tried]()
    choice: Choice = {}
    load = Load()
    if not missing:
        choice, tried = best_setting(row.peer.variants, partial(_rate, run, row))
    searched = load.of_others() if tried else 0.0
    with ExitStack() as stack:
        start = partial(run.worker, stack, row)
        mine, theirs, others = in_turn(
            partial(start, row.ours, "ours"),
            None if missing else partial(start, row.peer.set_to(choice), "peer"),
            pairs=run.pairs,
            most=max(run.pairs, min(run.most, row.most)),
            say=partial(_say, row.name),
        )
    return figures(row, mine, theirs, max(searched, others)) | {
        "missing": missing,
        "choice": described(choice),
        "tried": [asdict(one) | {"text": str(one)} for one in tried],
    }


def table(run: Run, rows: Sequence[Row], output: Path | None, *, resume: bool = False) -> bool:
    """Measure rows and print the table; return whether every row could be measured.

    A row that fails is named at the end; the output, if given, gets a line of JSON for each row as
    soon as it is measured. To `resume` takes the rows that its last series has.
    """
    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    about = circumstances()
    series = Series(output, about, resume=resume)
    for row in rows:
        setting = sha256_json(run.setting_of(row).model_dump(mode="json"))[:12]
        kept = series.kept(row.name, setting)
        try:
            one = kept or measured(run, row) | {"setting": setting}
            found.append(one)
        except (SideError, ConfigError) as error:
            one = {"row": row.name, "setting": setting, "failed": str(error)}
            failed[row.name] = str(error)
            _say(row.name, str(error))
        except KeyboardInterrupt:
            failed[row.name] = "broken off; --resume goes on here"
            break
        if kept is None:
            series.keep(one)
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n")
    print(markdown(found))
    for name, reason in failed.items():
        print(f"\nnot measured: {name}: {reason.splitlines()[0]}")
    return not failed


def _rate(run: Run, row: Row, choice: Choice) -> float:
    """Return the units per second of the peer in one setting, alone on the machine."""
    with ExitStack() as stack:
        worker = run.worker(stack, row, row.peer.set_to(choice, searching=True), "search")
        worker.loaded()
        block = worker.block()
    rate = float(block["units"] / block["seconds"])
    _say(row.name, f"{row.peer.name}, {described(choice)}: {rate:.3g} a second")
    return rate


def profile(run: Run, row: Row) -> str:
    """Return where one block of our side of a row spends its time."""
    with ExitStack() as stack:
        worker = run.worker(stack, row, row.ours, "profile")
        worker.loaded()
        worker.block()
        return str(worker.block("profile")["profile"])


def end_with_workers() -> None:
    """Let SIGTERM end this process as an error does: its workers with it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def chosen_rows(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    """Return the rows of these names, or the usual ones; the name `all` means every row.

    Raises:
        SystemExit: there is no such row; the message lists them.
    """
    if not names:
        return [row for row in rows if row.usual]
    if "all" in names:
        return list(rows)
    by_name = {row.name: row for row in rows}
    missing = [name for name in names if name not in by_name]
    if missing:
        sys.exit(f"there is no row {missing[0]}; the rows are {', '.join(by_name)}")
    return [by_name[name] for name in names]


def _say(name: str, text: str) -> None:
    print(f"[{name}] {text}", file=sys.stderr, flush=True)
