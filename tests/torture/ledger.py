"""The ledger: a line of JSON for each trial, on disk before the next one begins."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.torture.trials import Report

Record = dict[str, Any]
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_DSYNC


class Ledger:
    """Appends trials to a file and knows which of them passed."""

    def __init__(self, path: Path) -> None:
        """Keep it at `path`; what is there is gone on with."""
        self._path = path
        self._commit = commit()

    def records(self) -> list[Record]:
        """Return all trials, the oldest first; a torn last line is none."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def passed(self) -> set[tuple[str, int]]:
        """Return the names and seeds whose newest trial passed."""
        newest = {(one["name"], one["seed"]): one["outcome"] for one in self.records()}
        return {trial for trial, outcome in newest.items() if outcome == "passed"}

    def append(self, report: Report) -> None:
        """Write a trial down, for good."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**report.to_json(), "commit": self._commit}, ensure_ascii=False)
        # Each write is on disk when it returns: where tests run, `os.fsync` does nothing.
        with open(os.open(self._path, _FLAGS, 0o644), "rb+", buffering=0) as file:
            # Killed in the middle of a line, an earlier one left it open.
            size = file.seek(0, os.SEEK_END)
            is_open = size and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * bool(is_open) + f"{line}\n".encode())


def table(records: Iterable[Record]) -> str:
    """Return the counts of the newest trial of each name and seed as a table in Markdown."""
    newest = {(one["name"], one["seed"]): one for one in records}
    counts: dict[str, Counter[str]] = {}
    for (name, _), one in newest.items():
        counts.setdefault(name, Counter())[one["outcome"]] += 1
    rows = ["| kind | flow | passed | failed | seeds | minutes |", "|---|---|---:|---:|---|---:|"]
    for name, found in sorted(counts.items()):
        mine = [one for (other, _), one in newest.items() if other == name]
        kind, _, flow = name.partition("/")
        seeds = _ranges(sorted(one["seed"] for one in mine))
        minutes = sum(one["seconds"] for one in mine) / 60
        rows.append(
            f"| {kind} | {flow} | {found['passed']} | {found['failed']} | {seeds} | {minutes:.0f} |"
        )
    return "\n".join(rows)


def failures(records: Iterable[Record]) -> list[str]:
    """Return a line for each name and seed whose newest trial failed."""
    newest = {(one["name"], one["seed"]): one for one in records}
    return [
        f"{name} {seed}: {one['injected']}: {'; '.join(one['problems'])[:600]}"
        for (name, seed), one in sorted(newest.items())
        if one["outcome"] != "passed"
    ]


def commit() -> str:
    """Return the commit that is tried, with a `+` where files differ from it."""
    words = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _ranges(numbers: list[int]) -> str:
    """Return numbers as `0–7, 9`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("–".join(map(str, dict.fromkeys(part))) for part in parts)
