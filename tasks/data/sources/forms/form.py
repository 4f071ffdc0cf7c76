"""What a form is, and what the parsers of all forms share: lists, scores, the row's own name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.data.groups import Group, Prompt
from tasks.data.sources.dialogue import require_text, told
from tasks.settings.errors import RecordError

Row = Mapping[str, Any]
Types = Mapping[str, type]
"""The types of a row's filled columns: a form is recognised by nothing else."""
CONTEXT = ("system", "history", "input")
"""Columns that belong to the prompt: read by forms that name them, and where `fields` maps them."""


class Form(NamedTuple):
    """One published form."""

    parse: Callable[[Row], Group]
    """Turns a row into a group, or raises RecordError."""
    needs: tuple[str, ...]
    """The columns that it is recognised by; `a|b` is a column of either name, read as the first,
    and `a…` the one column whose name begins so."""
    reads: tuple[str, ...] = ()
    """Columns that it reads where they are there; `id` is always read."""
    fits: Callable[[Types], bool] = lambda types: True
    """What else must hold of the columns and their types for it to be recognised."""
    beside: re.Pattern[str] | None = None
    """Columns that say more about the answers than it reads; beside them it is not recognised."""
    merge: Callable[[list[Group]], list[Group]] | None = None
    """Makes groups of the answers to one prompt, where a row holds one of them."""
    alone: str = ""
    """Why those answers are left out of which `merge` makes no group."""

    def columns(self, present: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Find what it needs and reads among the columns of a row.

        Returns:
            The row's name for each column that is there, and the needs that are not.
        """
        found: dict[str, str] = {}
        missing = []
        for wish in (*self.needs, *self.reads):
            ours = wish.partition("|")[0].removesuffix("…")
            name = next((name for name in _names(wish, present) if name in present), None)
            if name is not None and name not in found.values():
                found[ours] = name
            elif wish in self.needs:
                missing.append(wish)
        return found, tuple(missing)


def _names(wish: str, present: Mapping[str, Any]) -> list[str]:
    if not wish.endswith("…"):
        return wish.split("|")
    start = wish.removesuffix("…")
    longer = [name for name in present if name.startswith(start)]
    return [start, *longer] if start in longer or len(longer) == 1 else []


def is_list(column: str) -> Callable[[Types], bool]:
    """Return the condition that a column holds a list."""
    return lambda types: types[column] is list


def list_of(row: Row, name: str) -> list[Any]:
    """Return the value of the column `name` if it is a list with entries.

    Raises:
        RecordError: It is not.
    """
    value = row[name]
    if not isinstance(value, list) or not value:
        raise RecordError(f"{name!r} should be a list with entries, is {told(value)}")
    return value


def objects_of(row: Row, name: str) -> list[dict[str, Any]]:
    """Return the value of the column `name` if it is a list of objects.

    Raises:
        RecordError: It is not.
    """
    entries = list_of(row, name)
    if not all(isinstance(entry, dict) for entry in entries):
        raise RecordError(
            f"{name!r} should hold objects with named values, holds {told(entries[0])}"
        )
    return entries


def number_of(value: Any, name: str = "a score") -> float:
    """Return a finite number, also from a cell of a table without types.

    Raises:
        RecordError: It is no such number; in JSON a text or a bool is none.
    """
    if isinstance(value, Cell):
        value = value.plain()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise RecordError(f"{name} should be a finite number, is {told(value)}")
    return float(value)


class Cell(str):
    """A cell of a file whose columns have no types, such as CSV: a text that may mean a number."""

    def plain(self) -> bool | float | str:
        """Return the number or bool that is written in the cell, otherwise its text."""
        if self.lower() in ("true", "false"):
            return self.lower() == "true"
        try:
            return float(self)
        except ValueError:
            return str(self)


def pair(prompt: Prompt, chosen: str, rejected: str, row: Row) -> Group:
    """Return a preference: the chosen response first."""
    return Group(prompt, (chosen, rejected), (1.0, 0.0), extra=extra(row))


def scored(
    prompt: Prompt,
    replies: Sequence[str],
    scores: Sequence[Any],
    row: Row,
    identity: Any = None,
    sources: Sequence[str] | None = None,
) -> Group:
    """Return a group with the best response first, so that column 0 of a pair is the chosen one.

    Raises:
        RecordError: The scores are not finite numbers, or do not match the responses in number.
    """
    if len(scores) != len(replies):
        raise RecordError(f"{len(scores)} scores for {len(replies)} responses")
    numbers = [number_of(score) for score in scores]
    order = sorted(range(len(numbers)), key=lambda k: -numbers[k])
    return Group(
        prompt,
        tuple(replies[k] for k in order),
        tuple(numbers[k] for k in order),
        tuple(sources[k] for k in order) if sources else None,
        extra=extra(row, identity),
    )


def extra(row: Row, identity: Any = None) -> dict[str, Any]:
    """Return the row's own name, so that a record can be found again in its source."""
    name = identity if identity is not None else row.get("id")
    if isinstance(name, str):
        return {"record": require_text(name, "id")}
    return {"record": name} if isinstance(name, int) else {}
