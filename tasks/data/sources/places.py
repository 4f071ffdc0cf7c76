"""Where the rows of a source lie: a file, a folder of files, or a set of the hub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.data.files import INDEX
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.row import Caps, Row
from tasks.data.sources.rows import DATA_SUFFIXES, read_rows
from tasks.data.sources.script_sets import why_script
from tasks.settings.errors import ConfigError, RecordError, one_line, seen_from

Part = tuple[str, Iterator[Row]]
"""What to call a part of a source, and its rows."""


def open_parts(config: SourceConfig) -> Iterator[Part]:
    """Return the parts of a source with their rows, in order; nothing is read yet.

    Raises:
        ConfigError: There is no such file, split or hub set.
    """
    return _hub_parts(config) if config.hub else _local_parts(config)


def is_group_folder(config: SourceConfig) -> bool:
    """Return whether the source is a data set that a stage wrote, which may be empty."""
    return config.path is not None and (Path(config.path).expanduser() / INDEX).is_file()


def local_files(config: SourceConfig) -> list[Path]:
    """Return the files that a source reads, in order; none for a hub set.

    Raises:
        ConfigError: There are none.
    """
    if config.path is None:
        return []
    path = Path(config.path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(
            f"there is no data file at {config.path}{seen_from(config.path)}; check the path"
        )
    if is_group_folder(config):
        return sorted(path.glob("[0-9]*.jsonl"))
    found = []
    for folder in [path / subset for subset in config.subsets] or [path]:
        found += _saved_files(folder, config.split) or _split_files(folder, config.split)
    return found


def require_rows(config: SourceConfig) -> None:
    """Refuse a local source with a file that holds no record, or is of no kind that is read.

    What a stage wrote may be empty, and a hub set is not looked up.

    Raises:
        ConfigError: There is no such file, or it is so; it is named.
    """
    if config.path is None or is_group_folder(config):
        return
    for label, rows in open_parts(config):
        try:
            if next(rows, None) is None:
                raise ConfigError(
                    f"{label} is empty, it holds no record: fetch it again, or name another file"
                )
        except RecordError as error:
            raise ConfigError(str(error)) from error


def _saved_files(folder: Path, split: str) -> list[Path]:
    """Return the files of what `save_to_disk` of `datasets` wrote: a set, or a folder of splits."""
    listed = folder / "dataset_dict.json"
    try:
        if listed.is_file():
            splits = json.loads(listed.read_bytes())["splits"]
            if split not in splits:
                raise ConfigError(f"{folder} has no split {split!r}; it has {', '.join(splits)}")
            folder = folder / split
        listed = folder / "state.json"
        if not listed.is_file():
            return []
        files = json.loads(listed.read_bytes())["_data_files"]
        return [folder / Path(entry["filename"]).name for entry in files]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{listed} is damaged ({error!r}); save the set again") from error


def _split_files(folder: Path, split: str) -> list[Path]:
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [name for name in names if name.name.endswith(DATA_SUFFIXES)]
    matching = [file for file in files if file.name.startswith(split)]
    if not matching:
        there = ", ".join(name.name for name in names) or "nothing"
        raise ConfigError(
            f"{folder} has no data file of split {split!r}; it holds {there}. Choose "
            "`subsets` and `split`, or name one file"
        )
    stems = [file.name.partition(".")[0] for file in matching]
    twice = [file.name for file, stem in zip(matching, stems, strict=True) if stems.count(stem) > 1]
    if twice:
        raise ConfigError(f"{folder} holds the same twice, {', '.join(twice)}; name one file")
    return matching


def _local_parts(config: SourceConfig) -> Iterator[Part]:
    caps = Caps(record_bytes=config.max_record_mb << 20)
    files = local_files(config)
    return ((str(file), read_rows(file, caps)) for file in files)


def _hub_parts(config: SourceConfig) -> Iterator[Part]:
    from datasets import load_dataset

    parts = []
    for subset in config.subsets or (None,):
        label = f"hub:{config.hub}" + (f"/{subset}" if subset else "")
        try:
            rows = load_dataset(
                config.hub,
                data_dir=subset,
                split=config.split,
                revision=config.revision,
                streaming=True,
            )
        except Exception as error:
            # `datasets` raises a dozen kinds here (offline, gated, no such set, no such split).
            if reason := why_script(str(config.hub), files=str(error).split()):
                raise ConfigError(reason) from error
            raise ConfigError(
                f"cannot read {label}, split {config.split!r} ({one_line(error)}); check the name, "
                "the split and the network, or give a local `path`"
            ) from error
        parts.append((label, _hub_rows(label, rows)))
    return iter(parts)


def _hub_rows(label: str, rows: Iterable[dict[str, Any]]) -> Iterator[Row]:
    number = 0
    try:
        for number, value in enumerate(rows, start=1):
            yield Row(number, dict(value))
    except Exception as error:
        # Any of the network's or the file format's errors, in the middle of the stream.
        raise RecordError(f"{label} breaks off after row {number}: {error}; run again") from error
