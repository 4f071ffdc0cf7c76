"""Group folders: a data set on disk as shards `00000.jsonl`… and an `index.json` of their counts.

The index is written last, so a folder without one was never finished. Writing and reading stream,
and `GroupFolder` gives any group by its number while holding eight bytes per group, not the groups.
"""

from __future__ import annotations

import json
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from tasks.data.groups import Group
from tasks.settings.errors import ConfigError, RecordError
from tasks.storage.files import open_output, write_json

INDEX = "index.json"
_CHUNK = 1 << 20
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class GroupWriter:
    """Writes groups into a folder, shard after shard; the index follows when the block ends well.

    Example:
        with GroupWriter(folder) as writer:
            writer.write(group)
    """

    def __init__(self, folder: Path, shard_size: int = 10_000) -> None:
        """Prepare the folder; it may exist but must not hold a finished data set.

        Args:
            folder: Where the shards go.
            shard_size: Groups per shard, at least 1.

        Raises:
            ConfigError: The shard size is below 1, or the folder already holds a data set.
        """
        if shard_size < 1:
            raise ConfigError(f"shard_size must be at least 1, got {shard_size}")
        if (folder / INDEX).exists():
            raise ConfigError(f"{folder} already holds a data set; write to a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._shard_size = folder, shard_size
        self._shards: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None
        self.count = 0

    def write(self, group: Group) -> None:
        """Append one group."""
        if self._file is None or self._shards[-1]["count"] == self._shard_size:
            self._file = self._next_shard()
        self._file.write(_ENCODER.encode(group.to_json()).encode() + b"\n")
        self._shards[-1]["count"] += 1
        self.count += 1

    def __enter__(self) -> GroupWriter:
        """Return itself."""
        return self

    def __exit__(self, *raised: Any) -> None:
        """Finish the last shard and write the index; after an error neither is published."""
        self._stack.__exit__(*raised)
        if raised[0] is None:
            write_json(self._folder / INDEX, {"count": self.count, "shards": self._shards})

    def _next_shard(self) -> IO[bytes]:
        self._stack.close()
        name = f"{len(self._shards):05d}.jsonl"
        self._stack = ExitStack()
        file: IO[bytes] = self._stack.enter_context(open_output(self._folder / name, mode="wb"))
        self._shards.append({"file": name, "count": 0})
        return file


def write_groups(folder: Path, groups: Iterable[Group], shard_size: int = 10_000) -> int:
    """Write a whole data set, streaming, and return how many groups it has.

    Raises:
        ConfigError: The folder already holds a data set.
    """
    with GroupWriter(folder, shard_size) as writer:
        for group in groups:
            writer.write(group)
    return writer.count


def read_groups(path: Path) -> Iterator[Group]:
    """Yield the groups of a folder, or of one `.jsonl` file of groups, in order, streaming.

    Raises:
        ConfigError: There is no such folder, or it was never finished.
        RecordError: A line is not a group (named), or a shard lost or gained lines.
    """
    for shard, expected in _shards(path):
        count = 0
        with open(shard, "rb") as file:
            for count, line in enumerate(file, start=1):
                yield _parse(line, shard, count)
        if expected is not None and count != expected:
            raise RecordError(f"{shard} holds {count} groups, its index says {expected}")


class GroupFolder:
    """Random access to the groups of a folder: `len(folder)`, `folder[i]`, iteration.

    Only the byte offsets are in memory (8 bytes per group). Reads use positions of their own, so
    threads and forked processes may share one instance.
    """

    def __init__(self, path: Path) -> None:
        """Scan the shards of a folder, or one `.jsonl` file of groups, for line starts.

        Raises:
            ConfigError: There is no such folder, or it was never finished.
            RecordError: A shard lost or gained lines since it was written.
        """
        self.path = Path(path)
        self._files: list[Path] = []
        self._offsets: list[array[int]] = []
        self._handles: dict[int, IO[bytes]] = {}
        for shard, expected in _shards(self.path):
            offsets = _line_offsets(shard)
            if expected is not None and len(offsets) - 1 != expected:
                raise RecordError(
                    f"{shard} holds {len(offsets) - 1} groups, its index says {expected}"
                )
            self._files.append(shard)
            self._offsets.append(offsets)
        self._ends = list(accumulate(len(offsets) - 1 for offsets in self._offsets))

    def __len__(self) -> int:
        """Return the number of groups."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Group:
        """Return the group with this number, read anew; negative numbers count from the end.

        Raises:
            IndexError: There is no such group.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"group {index} of {self.path}, which has {len(self)}")
        index %= len(self)
        shard = bisect_right(self._ends, index)
        row = index - (self._ends[shard - 1] if shard else 0)
        start, end = self._offsets[shard][row : row + 2]
        line = os.pread(self._handle(shard).fileno(), end - start, start)
        return _parse(line, self._files[shard], row + 1)

    def __iter__(self) -> Iterator[Group]:
        """Yield every group in order, streaming."""
        return read_groups(self.path)

    def _handle(self, shard: int) -> IO[bytes]:
        if shard not in self._handles:
            self._handles[shard] = open(self._files[shard], "rb")  # noqa: SIM115
        return self._handles[shard]

    def __del__(self) -> None:
        """Close the shards."""
        for handle in getattr(self, "_handles", {}).values():
            handle.close()


def _shards(path: Path) -> Iterator[tuple[Path, int | None]]:
    path = Path(path)
    if path.is_file():
        yield path, None
        return
    if not path.is_dir():
        raise ConfigError(f"there is no data set at {path}")
    if not (path / INDEX).is_file():
        raise ConfigError(f"{path} is not a finished data set: it has no {INDEX}")
    try:
        index = json.loads((path / INDEX).read_bytes())
        shards = [(path / Path(entry["file"]).name, entry["count"]) for entry in index["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path / INDEX} is damaged: {error}") from error
    for shard, count in shards:
        if not shard.is_file():
            raise RecordError(f"{shard} is missing, though {path / INDEX} names it")
        yield shard, count


def _line_offsets(path: Path) -> array[int]:
    """Return where each line starts, and at last where the file ends, read in blocks."""
    offsets, position = array("q", [0]), 0
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            found = block.find(b"\n")
            while found >= 0:
                offsets.append(position + found + 1)
                found = block.find(b"\n", found + 1)
            position += len(block)
    if offsets[-1] != position:
        offsets.append(position)
    return offsets


def _parse(line: bytes, shard: Path, number: int) -> Group:
    try:
        return Group.from_json(json.loads(line))
    except ValueError as error:
        raise RecordError(f"{shard}:{number}: {error}") from error
