"""What is said of a record that is in no form: its columns, what they lack, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.data.sources.forms.form import Form, Types
from tasks.data.sources.forms.registry import FORMS
from tasks.data.sources.forms.verdict_words import side_of
from tasks.settings.printable import printable

_MOST_COLUMNS = 30
_CALLED = {
    **dict.fromkeys(("conversation", "dialogue", "dialog", "chat"), "messages"),
    **dict.fromkeys(("user", "human", "request", "user_prompt"), "prompt"),
    **dict.fromkeys(("answer", "reply"), "completion"),
    **dict.fromkeys(("reward", "rating"), "score"),
}
"""Other words for our columns, beside those for the better and the worse answer."""
_ASKED = dict.fromkeys(("question", "instruction", "query", "input", "text"), "prompt")
"""Names for the prompt that some forms know, and others only as `prompt`."""


def columns_seen(columns: Iterable[str]) -> str:
    """Return the names of columns as a list in a sentence, without control characters."""
    names = sorted(columns)
    more = len(names) - _MOST_COLUMNS
    shown = ", ".join(f"{printable(name):.80}" for name in names[:_MOST_COLUMNS]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown


def why_unknown(
    types: Types, beside: Mapping[str, list[str]], nulls: set[str], read: Iterable[str]
) -> str:
    """Return the sentence about a record that no form reads.

    Args:
        types: The record's filled columns and their types.
        beside: The columns that keep it from being read in a poorer form, by the form's name.
        nulls: Its columns that hold null.
        read: The forms in which other records of its source were read.
    """
    if lack := _lacking(types, nulls, read):
        return f"{lack}; the record has {columns_seen(types)}"
    start = f"cannot tell the format from the columns {columns_seen(types)}"
    if hint := _renaming(types):
        return f"{start}: {hint}"
    nearest = nearest_forms(types)
    for name, columns in beside.items():
        return (
            f"{start}: {columns_seen(columns)} says more than the form {name!r} reads; {nearest}; "
            f"rename columns with `fields`, or leave them out with `format: {name}`"
        )
    return f"{start}; rename columns with `fields`, or choose a `format`; {nearest}"


def more_beside(form: Form, types: Types, found: Mapping[str, str]) -> list[str]:
    """Return the columns of a record that say more about its answers than a form reads."""
    if form.beside is None:
        return []
    return sorted(name for name in set(types) - set(found.values()) if form.beside.fullmatch(name))


def nearest_forms(types: Types) -> str:
    """Say in a clause which forms a row comes nearest to, and what it lacks for them."""
    close = []
    for name, form in FORMS.items():
        found, missing = form.columns(types)
        if 0 < len(missing) < len(form.needs):
            close.append((-len(found), len(missing), name, missing))
    if not close:
        return "the commonest form is 'pairs': prompt, chosen, rejected"
    told = [
        f"{name}, which needs {' and '.join(missing).replace('|', '/')} too"
        for _, _, name, missing in sorted(close)[:3]
    ]
    return f"nearest forms: {'; '.join(told)}"


def _lacking(types: Types, nulls: set[str], read: Iterable[str]) -> str:
    """Say what the record lacks for a form, where it is plain which form that is.

    That is one of other records of its source, one that the record has but for nulls, or the only
    one that would read all of its columns if there were one more.
    """
    known, close, whole = set(read), [], []
    for name, form in FORMS.items():
        found, missing = form.columns(types)
        are_null = all(nulls & set(wish.split("|")) for wish in missing)
        if missing and (are_null or (name in known and found)):
            close.append((name not in known, -len(found), name, missing, are_null))
        elif len(missing) == 1 < len(found) == len(types):
            whole.append((True, 0, name, missing, False))
    if not close and len(whole) != 1:
        return ""
    *_, name, missing, is_null = min(close or whole)
    told = " and ".join(repr(wish.partition("|")[0]) for wish in missing)
    verb = "is" if len(missing) == 1 else "are"
    return f"{told} {verb} {'null' if is_null else 'missing'}, which the form {name!r} needs"


def _renaming(types: Types) -> str:
    """Say which `fields` would make the record one of a form, if its names are other words."""
    close = []
    for words in (_CALLED, _CALLED | _ASKED):
        called = {_called(theirs, kind, words): theirs for theirs, kind in types.items()}
        if len(called) < len(types):
            continue  # two columns would have one name
        ours = {own: types[theirs] for own, theirs in called.items()}
        for name, form in FORMS.items():
            found, missing = form.columns(ours)
            read = {own: ours[column] for own, column in found.items()}
            fields = {own: called[own] for own in found.values() if called[own] != own}
            if (
                fields
                and not missing
                and form.fits(ours | read)
                and not more_beside(form, ours, found)
            ):
                close.append((len(found), name, fields))
    if not close:
        return ""
    _, name, fields = max(close, key=lambda one: one[0])
    columns = sorted(fields, key="prompt".__ne__)
    told = ", ".join(f"{own}: {printable(fields[own]):.80}" for own in columns)
    # A first look has no configuration to write that into.
    flag = "`--fields` of `sparring doctor` and `sparring init`"
    return f"`fields: {{{told}}}` of the source, or {flag}, reads them as the form {name!r}"


def _called(column: str, kind: type, words: Mapping[str, str]) -> str:
    plain = column.strip("\ufeff ").lower().replace(" ", "_").replace("-", "_")
    if (side := side_of(plain)) and not issubclass(kind, int | float):
        return side
    return words.get(plain, plain)
