"""What a person should know before training on a file: sentences from its report, by level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tasks.data.inspection.file_report import FileReport
from tasks.data.sources.tally import share_that_allows, too_many_bad
from tasks.settings.printable import printable

_DROPPED = {
    "duplicate": "repeat an earlier one",
    "identical": "have responses that are all equal",
    "tied": "have scores that are all equal",
    "empty": "have an empty prompt or response",
    "no_comparison": "have no second response, or no scores, and compare nothing",
}
"""What the reasons of the cleaning mean, which decides for a run and for this report."""
_LEAST_PROMPTS = 4
"""One to learn from, for reward model and policy each, one to watch and one to test."""
_FEW_PROMPTS = 100
_TOLD_BY_LENGTH = 0.65
_MUCH_CUT = 0.05


class Advice(NamedTuple):
    """One thing to know about a file."""

    level: Literal["error", "warning", "note"]
    """error: a run would refuse the file; warning: it would train on less or worse than it seems;
    note: good to know."""
    text: str
    """A sentence, with the numbers."""


def advise(file: FileReport) -> list[Advice]:
    """Return what there is to say about a file, errors first."""
    found = [*_about_reading(file), *_about_cleaning(file), *_about_learning(file)]
    order = ("error", "warning", "note")
    return sorted(found, key=lambda advice: order.index(advice.level))


def _about_reading(file: FileReport) -> Iterator[Advice]:
    total = file.groups + file.bad_records
    if not file.groups:
        yield Advice("error", f"none of {total:,} records can be read" if total else "it is empty")
    elif too_many_bad(file.bad_records, total, file.max_bad_share):
        least = share_that_allows(file.bad_records, total)
        yield Advice(
            "error",
            f"{file.bad_records:,} of {total:,} records cannot be read, more than the "
            f"{100 * file.max_bad_share:g}% that a run allows: mend them, or let them be left out "
            f"by `data.max_bad_share: {least}`",
        )
    elif file.bad_records:
        yield Advice("warning", f"{file.bad_records:,} of {total:,} records are left out unread")
    for reason, count in file.left_out.items():
        if reason != "not_sampled":  # whoever asked for a sample knows
            yield Advice("warning", f"{count:,} records give nothing to learn from: {reason}")
    if len(file.forms) > 1:
        counts = ", ".join(f"{count:,} as {form}" for form, count in file.forms.items())
        yield Advice("note", f"records of several forms: {counts}")
    if file.ignored_columns:
        named = ", ".join(
            f"'{printable(name)}' (in {count:,})" for name, count in file.ignored_columns.items()
        )
        # These are part of what the model is asked; without them it is another question.
        level: Literal["warning", "note"] = (
            "warning" if {"system", "history", "input"} & set(file.ignored_columns) else "note"
        )
        yield Advice(level, f"columns that nobody reads: {named}; `fields` of a source maps them")


def _about_cleaning(file: FileReport) -> Iterator[Advice]:
    if file.groups and sum(file.dropped.values()) == file.groups:
        yield Advice("error", "a run drops all of its records, so nothing is left to learn from")
    for reason, count in file.dropped.items():
        text = f"{count:,} of {file.groups:,} records {_DROPPED[reason]}; a run drops them"
        yield Advice("warning", text)


def _about_learning(file: FileReport) -> Iterator[Advice]:
    if 0 < file.prompts < _LEAST_PROMPTS:
        text = (
            f"its distinct prompts ({file.prompts}) are too few to divide: as the only pairs of a "
            "run they are refused"
        )
        yield Advice("warning", text)
    elif 0 < file.prompts < _FEW_PROMPTS:
        text = f"{file.prompts:,} distinct prompts are enough for a try, not to learn from"
        yield Advice("warning", text)
    longer = file.chosen_longer
    if longer is not None and not 1 - _TOLD_BY_LENGTH <= longer <= _TOLD_BY_LENGTH:
        text = f"the better response is the longer one in {longer:.0%}: length alone tells them"
        yield Advice("warning", text)
    if file.tokens is None:
        return
    cuts = (
        ("prompts", file.tokens.truncated_prompts, "lose their beginning"),
        ("responses", file.tokens.truncated_responses, "stop a run, or are cut as configured"),
    )
    for what, share, happens in cuts:
        if share:
            level: Literal["warning", "note"] = "warning" if share > _MUCH_CUT else "note"
            yield Advice(level, f"{share:.1%} of the {what} are over their limit and {happens}")
    if file.tokens.eos_inside:
        share = file.tokens.eos_inside
        yield Advice("warning", f"{share:.1%} of the responses spell the end-of-text token")
