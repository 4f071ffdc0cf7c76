"""One source of data – a file, a folder or a hub name – read as a stream of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from tasks.data.groups import Group
from tasks.data.selection import sampled
from tasks.data.sources.chat_markup import refuse_markup, unwrapped, without_cue
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.forms.form import Cell, Form
from tasks.data.sources.forms.recognition import Reading, Recogniser, UnknownFormError
from tasks.data.sources.places import Part, open_parts
from tasks.data.sources.tally import BadRecord, Tally, share_that_allows, too_many_bad
from tasks.settings.errors import ConfigError, RecordError

_MOST_UNKNOWN = 10
"""Records of no known form before the first readable one that stop the source."""


def read_source(
    config: SourceConfig,
    on_bad: Callable[[BadRecord], None],
    *,
    max_bad_share: float = 0.01,
    tally: Tally | None = None,
    check: Callable[[Group], None] | None = None,
) -> Iterator[Group]:
    """Read a source as groups, streaming.

    Where a row holds one judged answer, the answers to one prompt are joined: those records are
    kept until the source has been read, and their groups come last.

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
        ConfigError: The file, split, hub set or format does not exist, at once, before reading; or
            while reading: no record has a known form, or none is selected by `where`.
        RecordError: While reading: too many unreadable records, or a file that breaks off.
    """
    reading = _Reading(config, on_bad, max_bad_share, tally or Tally(), check)
    return reading.groups(open_parts(config))


def detect_format(config: SourceConfig) -> str:
    """Return the form in which a source's first readable row is read; "unknown" if there is none.

    Raises:
        ConfigError: The source does not exist, or no form, or not the configured one, has its
            columns.
    """
    recogniser = Recogniser(config.format, config.fields)
    for label, rows in open_parts(config):
        for row in rows:
            if row.value is None:
                continue
            try:
                return recogniser.reading(row.value).name
            except RecordError as error:
                raise ConfigError(f"{label}: {error}") from error
    return "unknown"


class _Reading:
    """The state of one reading of a source."""

    def __init__(
        self,
        config: SourceConfig,
        on_bad: Callable[[BadRecord], None],
        max_bad_share: float,
        tally: Tally,
        check: Callable[[Group], None] | None,
    ) -> None:
        self.config, self.on_bad, self.max_bad_share = config, on_bad, max_bad_share
        self.tally, self.check = tally, check
        self.good = self.bad = self._found = 0
        self._recogniser = Recogniser(config.format, config.fields, tuple(config.where))
        self._unknown: list[BadRecord] = []
        self._joined: dict[str, tuple[Form, list[Group]]] = {}
        self._deselected: dict[str, Any] | None = None

    def groups(self, parts: Iterable[Part]) -> Iterator[Group]:
        kept = 0
        for group in sampled(self._all_groups(parts), self.config.limit, self.config.seed):
            kept += 1
            yield group
        if kept < self._found:
            self.tally.left_out["not_sampled"] += self._found - kept
        self._check()

    def _all_groups(self, parts: Iterable[Part]) -> Iterator[Group]:
        for label, rows in parts:
            for row in islice(rows, self.config.rows):
                try:
                    if row.value is None:
                        raise RecordError(row.problem)
                    if self.config.where and not self._selected(row.value):
                        continue
                    reading, group, ignored = self._read(row.value)
                except RecordError as error:
                    self._leave_out(BadRecord(label, row.number, str(error)), error)
                    continue
                self.good += 1
                self.tally.add(reading.name, ignored)
                if self._unknown:
                    self._report_unknown()
                if reading.form.merge is None:
                    self._found += 1
                    yield group
                else:
                    self._joined.setdefault(group.id, (reading.form, []))[1].append(group)
        yield from self._merged()

    def _read(self, row: dict[str, Any]) -> tuple[Reading, Group, tuple[str, ...]]:
        markup = self.config.chat_markup
        found = self._recogniser.read(unwrapped(row) if markup == "unwrap" else row)
        reading, group, ignored = found
        if self.config.cue:
            group = without_cue(group, self.config.cue)
        if markup != "keep":
            refuse_markup(group)
        if self.check is not None:
            self.check(group)
        return reading, group, ignored

    def _leave_out(self, record: BadRecord, error: RecordError) -> None:
        self.bad += 1
        if self.good or not isinstance(error, UnknownFormError):
            self.on_bad(record)
            return
        # Until one record is readable, it is rather the source that is not what we read.
        self._unknown.append(record)
        if len(self._unknown) == _MOST_UNKNOWN:
            self._check()

    def _report_unknown(self) -> None:
        for record in self._unknown:
            self.on_bad(record)
        self._unknown.clear()

    def _merged(self) -> Iterator[Group]:
        for form, answers in self._joined.values():
            groups = form.merge(answers) if form.merge else []
            if not groups:
                self.tally.left_out[form.alone] += len(answers)
            self._found += len(groups)
            yield from groups

    def _selected(self, value: dict[str, Any]) -> bool:
        for column, wanted in self.config.where.items():
            found = value.get(column)
            if isinstance(found, Cell) and not isinstance(wanted, str):
                found = found.plain()
            if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
                self._deselected = self._deselected or value
                return False
        return True

    def _check(self) -> None:
        label, total = self.config.label, self.good + self.bad
        if not self.good and self._unknown:
            raise ConfigError(str(self._unknown[0]))
        if not total and self._deselected is not None:
            found = {name: self._deselected.get(name) for name in self.config.where}
            raise ConfigError(
                f"{label}: no record has what `where` asks for, {self.config.where}; the first one "
                f"has {found!r:.200}. Numbers, texts, true and null are told apart"
            )
        if too_many_bad(self.bad, total, self.max_bad_share):
            raise RecordError(
                f"{label}: {self.bad} of {total} records cannot be read, more than the allowed "
                f"{self.max_bad_share:.1%}; mend the file or raise data.max_bad_share to "
                f"{share_that_allows(self.bad, total)}"
            )
