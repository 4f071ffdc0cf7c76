"""Asking people from within a stage: it ends with their answers, or waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tasks.gold.people.answer_files import ANSWERS
from tasks.gold.people.batch import Batch, Look, Standing
from tasks.gold.people.config import PeopleConfig
from tasks.gold.people.question import Kind, Question
from tasks.gold.people.submissions import Submission
from tasks.settings.errors import Awaited
from tasks.settings.log import Log
from tasks.settings.plurals import counted
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_lines
from tasks.storage.home import current_home

if TYPE_CHECKING:
    from tasks.gold.people.label_studio import LabelStudioPage

SUBMISSIONS = "submissions.jsonl"
"""What a stage that asked people leaves: every submission that it used, a line each."""
_TOLD = 3
"""Problems that are told in full."""


class Answers(NamedTuple):
    """What people answered, once that is enough."""

    used: list[Submission]
    """The submissions that count, by question and person."""
    standing: Standing
    """How far the questions were then."""

    def metrics(self) -> dict[str, float]:
        """Return the counts, ready to be logged."""
        people = len({one.person for one in self.used})
        counts = {**self.standing._asdict(), "people": people}
        return {name: float(counts[name]) for name in counts if name != "late"}

    def write(self, folder: Path) -> None:
        """Write the submissions that were used, so that their digest is part of what is made."""
        lines = (canonical_json(asdict(one)).decode() for one in self.used)
        write_lines(folder / SUBMISSIONS, lines)


def ask(
    title: str,
    kind: Kind,
    questions: Sequence[Question],
    config: PeopleConfig,
    key: str,
    log: Log,
) -> Answers:
    """Return people's answers to questions; lay the questions out where that was not done.

    Args:
        title: What they are about, for people.
        kind: What is to be given.
        questions: With distinct ids.
        config: Who is asked, and where.
        key: Of the stage that asks; what it was given once it is given again.
        log: Told how far it is, and what could not be used.

    Raises:
        Awaited: Not enough people have answered; it says how many answers are missing and where
            they are to be put.
        ConfigError: The token for Label Studio is missing or refused.
    """
    batch = Batch.begin(current_home(), title, key, kind, questions, config)
    if not batch.is_closed:
        page = page_of(batch)
        look = batch.take_in(page.take() if page else ())
        found = batch.standing()
        log.progress(found.complete, found.asked, "questions answered")
        if not found.is_enough(config.enough):
            raise Awaited(awaited(batch, page, look))
        if look.problems:
            log.note(_faults(look))
    return Answers(batch.close(), batch.standing())


def page_of(batch: Batch) -> LabelStudioPage | None:
    """Return where people answer a set of questions beside files; None for nowhere."""
    config = batch.config
    if config.label_studio is None:
        return None
    from tasks.gold.people.label_studio import LabelStudioPage

    return LabelStudioPage(
        config.label_studio,
        batch.name,
        batch.kind,
        batch.questions,
        config.instructions,
        config.quorum,
    )


def awaited(batch: Batch, page: LabelStudioPage | None, look: Look) -> str:
    """Return what a set of questions waits for, where answers are to be given, and what is wrong.

    Example: `63 answers are missing to 63 of 100 questions (37 came); …`.
    """
    found = batch.standing()
    came = f"{found.answers} came" if found.answers else "none came"
    if found.superseded:
        came += f", {found.superseded} superseded"
    each = "" if batch.config.quorum == 1 else f", {batch.config.quorum} people each"
    text = (
        f"{counted(found.missing, 'answer is', 'answers are')} missing to "
        f"{found.asked - found.complete} of {counted(found.asked, 'question')}{each} ({came}): "
        f"fill in a copy of {batch.place}/questions.csv and put it into {batch.place / ANSWERS} "
        "under your name"
    )
    if page is not None:
        text += f", or answer at {page.address}"
        text += f" ({page.problem})" if page.problem else ""
    return f"{text}; {_faults(look)}" if look.problems else text


def _faults(look: Look) -> str:
    """Return what could not be used, or is used though it is gone, the first of it in full."""
    more = len(look.problems) - _TOLD
    told = "; ".join(look.problems[:_TOLD]) + (f"; and {more} more" if more > 0 else "")
    found = {
        counted(look.gone, "answer counts that is", "answers count that are") + " gone": look.gone,
        counted(look.malformed, "malformed row does not", "malformed rows do not")
        + " count": look.malformed,
        counted(look.unknown, "row answers", "rows answer") + " no question": look.unknown,
    }
    return f"{', '.join(words for words, number in found.items() if number)}: {told}"
