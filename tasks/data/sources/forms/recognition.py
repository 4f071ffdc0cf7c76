"""Which form a record has: told from its filled columns, once for each kind of record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.data.groups import Group
from tasks.data.sources.forms.around_prompt import in_context
from tasks.data.sources.forms.form import CONTEXT, Form, Row, Types
from tasks.data.sources.forms.refused import NOT_READ, REFUSED
from tasks.data.sources.forms.registry import FORMS, require_format
from tasks.data.sources.forms.unknown_columns import columns_seen, more_beside, why_unknown
from tasks.settings.errors import RecordError

_MOST_KINDS = 1000


class UnknownFormError(RecordError):
    """A record has the columns of no form that is read."""


class Reading(NamedTuple):
    """How the records of one kind are read."""

    name: str
    """The form's name."""
    form: Form
    """The form."""
    columns: dict[str, str] | None
    """The record's name of each column that is handed to the form; None: as they are."""
    context: tuple[str, ...]
    """Columns that are put around the prompt."""
    ignored: tuple[str, ...]
    """Columns that are not read."""


class Recogniser:
    """Reads the records of one source; what was found out about a kind of record is remembered.

    A kind is a record's columns and their types; columns that hold null are not there.
    """

    def __init__(
        self,
        name: str = "auto",
        fields: Mapping[str, str] | None = None,
        used: tuple[str, ...] = (),
    ) -> None:
        """Take what the configuration says of the source.

        Args:
            name: A form, or `auto`: each record is read in the first form that it has.
            fields: The file's column for each of ours that has another name there.
            used: Columns that were read already, so that they do not count as ignored.
        """
        self._name, self._fields, self._used = name, dict(fields or {}), {"id", *used}
        self._kinds: dict[tuple[Any, ...], Reading] = {}

    def reading(self, row: Row) -> Reading:
        """Return how a record is read.

        Raises:
            UnknownFormError: No form has its columns, or one that is refused does.
            RecordError: It lacks a column of the chosen form, or one that `fields` names.
        """
        kind = (*row, *map(type, row.values()))
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) == _MOST_KINDS:
                self._kinds.clear()
            found = self._kinds[kind] = self._recognised(row)
        return found

    def read(self, row: Row) -> tuple[Reading, Group, tuple[str, ...]]:
        """Read a record.

        Returns:
            How it was read, the group, and its filled columns that were not read.

        Raises:
            RecordError: As `reading`, or a value is not what the form asks for.
        """
        reading = self.reading(row)
        ignored = reading.ignored
        if ignored:
            ignored = tuple([name for name in ignored if _filled(row[name])])
        for name in ignored:
            if name in NOT_READ:
                raise RecordError(f"the column {name!r} holds {NOT_READ[name]}, which are not read")
        if reading.columns is not None:
            row = {ours: row[theirs] for ours, theirs in reading.columns.items()}
        try:
            group = reading.form.parse(row)
            if reading.context:
                group = in_context(group, row, reading.context)
        except OverflowError as error:
            raise RecordError(f"a number is too large: {error}") from error
        except RecordError as error:
            raise RecordError(f"{error}{_where_from(reading)}") from error
        return reading, group, ignored

    def _recognised(self, row: Row) -> Reading:
        present = self._present(row)
        types = {ours: type(row[theirs]) for ours, theirs in present.items()}
        name, found = self._form(types, {name for name in row if row[name] is None})
        form = FORMS[name]
        context = tuple(
            column
            for column in CONTEXT
            if column not in form.needs
            and (column in found or (column in self._fields and column in present))
        )
        read = {present[name] for name in {*found.values(), *context} if name in present}
        columns = present | {ours: present[theirs] for ours, theirs in found.items()}
        as_they_are = all(ours == theirs for ours, theirs in columns.items())
        return Reading(
            name,
            form,
            None if as_they_are and len(columns) == len(row) else columns,
            context,
            tuple(sorted({name for name in row if row[name] is not None} - read - self._used)),
        )

    def _present(self, row: Row) -> dict[str, str]:
        """Return the record's own name of each filled column, by our names for them."""
        for ours, theirs in self._fields.items():
            if theirs not in row and ours not in CONTEXT:
                raise RecordError(f"column {theirs!r}, named in `fields`, is missing")
        taken = set(self._fields.values())
        own = {name: name for name in row if name not in taken}
        mapped = {ours: theirs for ours, theirs in self._fields.items() if theirs in row}
        return {ours: theirs for ours, theirs in (own | mapped).items() if row[theirs] is not None}

    def _form(self, types: Types, nulls: set[str]) -> tuple[str, dict[str, str]]:
        """Return the form's name, and the column for each that it reads."""
        if self._name != "auto":
            form = require_format(self._name)
            found, missing = form.columns(types)
            if missing:
                column = missing[0].partition("|")[0]
                raise RecordError(f"column {column!r} is missing (format {self._name})")
            return self._name, found
        for name, refusal in REFUSED.items():
            found, missing = Form(lambda row: Group(()), refusal.needs).columns(types)
            if not missing and refusal.fits(types):
                raise UnknownFormError(
                    f"the columns {columns_seen(types)} are the form {name!r}, which is not read: "
                    f"{refusal.why}"
                )
        beside: dict[str, list[str]] = {}
        for name, form in FORMS.items():
            found, missing = form.columns(types)
            if missing or not form.fits(
                {**types, **{ours: types[own] for ours, own in found.items()}}
            ):
                continue
            more = more_beside(form, types, found)
            if not more:
                return name, found
            beside[name] = more
        read = {reading.name for reading in self._kinds.values()}
        raise UnknownFormError(why_unknown(types, beside, nulls, read))


def _where_from(reading: Reading) -> str:
    """Return which columns of the record an error means that were read under another name."""
    names = {ours: theirs for ours, theirs in (reading.columns or {}).items() if ours != theirs}
    told = ", ".join(f"{theirs!r} is read as {ours!r}" for ours, theirs in names.items())
    return f" (form {reading.name}: {told})" if told else ""


def _filled(value: Any) -> bool:
    return value is not None and value != "" and value != [] and value != {}
