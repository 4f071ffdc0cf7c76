"""One source of data – a file, a folder or a hub name – read as a stream of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.files import INDEX
from tasks.data.groups import Group
from tasks.data.sources.chat_markup import refuse_markup, unwrapped
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.formats import detect, require_format
from tasks.data.sources.lines import DATA_SUFFIXES, Caps, Row, read_rows
from tasks.data.sources.tally import Tally
from tasks.settings.errors import ConfigError, RecordError, seen_from
from tasks.settings.printable import printable


class BadRecord(NamedTuple):
    """A record that could not be read and is left out."""

    source: str
    """File or hub set."""
    line: int
    """Line of a jsonl file, otherwise number of the record, from 1."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        """Return `file:line: reason` as it may be shown."""
        return printable(f"{self.source}:{self.line}: {self.reason}")


def read_source(
    config: SourceConfig,
    on_bad: Callable[[BadRecord], None],
    *,
    max_bad_share: float = 0.01,
    tally: Tally | None = None,
    check: Callable[[Group], None] | None = None,
) -> Iterator[Group]:
    """Read a source as groups, streaming.

    Args:
        config: Where the data is and how to read it.
        on_bad: Called with every record that cannot be read; such records are left out.
        max_bad_share: Largest share of unreadable records, judged at the end of the source.
        tally: Receives what was read in which form and what of it was not read, while the groups
            are taken.
        check: Raises RecordError for a group that the run could not use; it counts as unreadable.

    Returns:
        The groups, in the source's order.

    Raises:
        ConfigError: The file, split, hub set or format does not exist; at once, before reading.
        RecordError: While reading: too many unreadable records, or a file that breaks off.
    """
    parts = _hub_parts(config) if config.hub else _local_parts(config)
    return _groups(config, parts, on_bad, max_bad_share, tally or Tally(), check)


def detect_format(config: SourceConfig) -> str:
    """Return the format of a source, from its first readable row unless the config names it.

    It is "unknown" if no row can be read.

    Raises:
        ConfigError: The source does not exist, or no format has its columns.
    """
    if config.format != "auto":
        return config.format
    for label, rows in _hub_parts(config) if config.hub else _local_parts(config):
        for row in rows:
            if row.value is not None:
                return detect(_renamed(row.value, config.fields), label)
    return "unknown"


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
    if (path / INDEX).is_file():
        return sorted(path.glob("[0-9]*.jsonl"))
    found = []
    for folder in [path / subset for subset in config.subsets] or [path]:
        names = sorted(folder.iterdir()) if folder.is_dir() else []
        files = [name for name in names if name.name.endswith(DATA_SUFFIXES)]
        matching = [file for file in files if file.name.startswith(config.split)]
        if not matching:
            there = ", ".join(name.name for name in names) or "nothing"
            raise ConfigError(
                f"{folder} has no data file of split {config.split!r}; it holds {there}. Choose "
                "`subsets` and `split`, or name one file"
            )
        found += matching
    return found


def _groups(
    config: SourceConfig,
    parts: Iterator[tuple[str, Iterator[Row]]],
    on_bad: Callable[[BadRecord], None],
    max_bad_share: float,
    tally: Tally,
    check: Callable[[Group], None] | None,
) -> Iterator[Group]:
    name, good, bad = config.format, 0, 0
    for label, rows in parts:
        for row in rows:
            try:
                if row.value is None:
                    raise RecordError(row.problem)
                if config.where and not _selected(row.value, config.where):
                    continue
                value = _renamed(row.value, config.fields) if config.fields else row.value
                if config.chat_markup == "unwrap":
                    value = unwrapped(value)
                if name == "auto":
                    name = detect(value, label)
                group = _parsed(name, value)
                if config.chat_markup != "keep":
                    refuse_markup(group)
                if check is not None:
                    check(group)
            except RecordError as error:
                bad += 1
                on_bad(BadRecord(label, row.number, str(error)))
                continue
            good += 1
            tally.add(name, require_format(name).ignored(value))
            yield group
            if good == config.limit:
                _check_share(config.label, good, bad, max_bad_share)
                return
    _check_share(config.label, good, bad, max_bad_share)


def _parsed(name: str, value: dict[str, Any]) -> Group:
    form = require_format(name)
    try:
        return form.parse(value)
    except KeyError as error:
        raise RecordError(f"column {error.args[0]!r} is missing (format {name})") from error
    except OverflowError as error:
        raise RecordError(f"a number is too large: {error}") from error


def _selected(value: dict[str, Any], where: dict[str, str]) -> bool:
    return all(str(value.get(column)) == wanted for column, wanted in where.items())


def _renamed(value: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    missing = [column for column in fields.values() if column not in value]
    if missing:
        raise RecordError(f"column {missing[0]!r}, named in `fields`, is missing")
    rest = {name: entry for name, entry in value.items() if name not in set(fields.values())}
    return rest | {ours: value[theirs] for ours, theirs in fields.items()}


def _check_share(label: str, good: int, bad: int, limit: float) -> None:
    # One alone stops nothing: of a short file it would be more than any share.
    if bad > limit * (good + bad) and (bad > 1 or not limit):
        raise RecordError(
            f"{label}: {bad} of {good + bad} records cannot be read, more than the allowed "
            f"{limit:.1%}; mend the file or raise max_bad_share"
        )


def _local_parts(config: SourceConfig) -> Iterator[tuple[str, Iterator[Row]]]:
    caps = Caps(record_bytes=config.max_record_mb << 20)
    files = local_files(config)
    return ((str(file), read_rows(file, caps)) for file in files)


def _hub_parts(config: SourceConfig) -> Iterator[tuple[str, Iterator[Row]]]:
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
            raise ConfigError(
                f"cannot read {label}, split {config.split!r} ({error}); check the name, the split "
                "and the network, or give a local `path`"
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
