"""The measured rows of a table in a file, each as soon as it is there.

Whatever ends an hour's series early takes none of them, and `--resume` measures only the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.storage.files import read_lines, write_lines


class Series:
    """The rows of one table, a line of JSON each; earlier series stay above them."""

    def __init__(self, path: Path | None, about: Mapping[str, str], *, resume: bool) -> None:
        """Begin a series, or go on with the last one in the file.

        Args:
            path: The file; None keeps nothing.
            about: When, where and of which commit it is measured, as `circumstances` says.
            resume: Take the last series' rows of this commit as measured.
        """
        self._path, self._about = path, dict(about)
        lines = read_lines(path) if path is not None and path.is_file() else []
        self._lines = [line for line in lines if line]
        before = [json.loads(line) for line in self._lines]
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}
        if resume and before:
            began = before[-1]["about"]["date"]
            self._about["date"] = began
            self._kept = {
                (found["row"], found["setting"]): found
                for found in before
                if found["about"]["date"] == began
                and found["about"]["commit"] == about["commit"]
                and "failed" not in found
            }

    def kept(self, row: str, setting: str) -> dict[str, Any] | None:
        """Return what a row found earlier in this series, in the same setting."""
        return self._kept.get((row, setting))

    def keep(self, found: Mapping[str, Any]) -> None:
        """Write down what a row found, or why it `failed`."""
        self._lines.append(json.dumps(dict(found) | {"about": self._about}, ensure_ascii=False))
        if self._path is not None:
            write_lines(self._path, self._lines)
