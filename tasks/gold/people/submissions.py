"""What people handed in: every submission kept, and which of them count.

A journal only grows. Each row of what was handed in has a slot; what stands there otherwise than at
the last look is a new submission. Of several by the same person on the same question the last one
counts, and the others stay in the journal.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tasks.gold.people.question import Kind
from tasks.storage.journal import append_record, read_records

PAGE = "label-studio"
"""What the annotations of a page are called among the sources of submissions."""
Fault = Literal["", "malformed", "unknown"]
"""What is wrong with a row: it is no answer, or answers no question of the set."""


class Handed(NamedTuple):
    """A row of a file, or an annotation, as it came."""

    source: str
    """The file's name, or `PAGE`."""
    place: str
    """Where in it: `line 3`, `annotation 12`."""
    fields: Mapping[str, Any] | None
    """Its values by name; None where it is no record."""
    person: str = ""
    """Who gave it, where its fields do not say."""
    problem: str = ""
    """Why it is no record."""
    is_stable: bool = False
    """Whether its place stays its own, as an annotation's number does and a line's does not."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One row as it was judged and is kept."""

    slot: str
    """What it stands in: looked at again, the same row has the same."""
    question: str
    """Id of the question; empty where none is named."""
    person: str
    """Who answered; empty where nobody is named."""
    answer: str
    """The answer; empty where it was taken back, or is none."""
    comment: str = ""
    """What the person said of it."""
    fault: Fault = ""
    """Why it does not count; empty where it does."""
    problem: str = ""
    """The same for people, with the place."""
    raw: str = ""
    """A row that does not count, as it came."""


class Rows:
    """The submissions in rows that were handed in at one look, and what else was in them.

    Attributes:
        blank: Rows without an answer.
        duplicate: Rows that repeat an answer of the same person to the same question.
        problems: A sentence for each row that is malformed or names no question.
    """

    def __init__(self, questions: Collection[str], kind: Kind) -> None:
        """Take the ids of the questions, and what is to be given."""
        self._questions, self._kind = questions, kind
        self._seen: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        self.blank = self.duplicate = 0
        self.problems: list[str] = []
        self.faults: Counter[str] = Counter()

    def read(self, rows: Iterable[Handed]) -> Iterator[Submission]:
        """Yield a submission for each row; for a blank one, one with an empty answer."""
        for row in rows:
            found = self._read(row)
            if found.fault:
                self.faults[found.fault] += 1
                self.problems.append(found.problem)
            elif not found.answer:
                self.blank += 1
            yield found

    def missing(self, counted: Iterable[Submission]) -> list[Submission]:
        """Return those of the submissions that count which were not among the rows."""
        now = {
            (question, person, answer)
            for (_, question, person), answers in self._seen.items()
            for answer in answers
        }
        # A page that does not answer has taken nothing back.
        is_heard = any(source == PAGE for source, _, _ in self._seen)
        return [
            one
            for one in counted
            if (one.question, one.person, one.answer) not in now
            and (is_heard or not one.slot.startswith(f"{PAGE}, "))
        ]

    def _read(self, row: Handed) -> Submission:
        question, person, answer, comment, problem = self._parsed(row)
        fault: Fault = "malformed" if problem else ""
        if not fault and question not in self._questions:
            fault, problem = "unknown", f"there is no question {question[:40]!r} in this set"
        if fault:
            slot = f"{row.source}, {row.place}"
            raw = "" if row.fields is None else repr(dict(row.fields))[:4000]
            said = f"{slot}: {problem}"
            return Submission(slot, question, person, "", comment, fault, said, raw)
        earlier = self._seen[row.source, question, person]
        if answer and answer in earlier:
            self.duplicate += 1
        # A file that is sorted anew holds the same submissions.
        place = row.place if row.is_stable else f"{question} {person} {len(earlier)}"
        earlier.append(answer)
        return Submission(f"{row.source}, {place}", question, person, answer, comment)

    def _parsed(self, row: Handed) -> tuple[str, str, str, str, str]:
        """Return question, person, answer and comment of a row, and what is wrong with it."""
        if row.fields is None:
            return "", person_name(row.person), "", "", row.problem
        texts = [_text(row.fields.get(name)) for name in ("id", "annotator", "comment")]
        question, person, comment = texts
        answer, problem = self._kind.read(row.fields.get(self._kind.column))
        if not question:
            problem = "it has no id of a question"
        elif self._kind.column not in row.fields:
            problem = f"it has no {self._kind.column}"
        elif not _is_writable(question + person + comment + answer):
            problem = "it holds half a character (a lone surrogate)"
            question = person = answer = comment = ""
        return question, person_name(person or row.person), answer, comment, problem


def person_name(text: str) -> str:
    """Return the name by which a person is told from others, whatever the case and the blanks.

    Example:
        >>> person_name("Anna  M. ")
        'anna m.'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def keep(journal: Path, found: Iterable[Submission]) -> int:
    """Append whatever stands otherwise in its slot than at the last look; return how many did."""
    last = {one["slot"]: _content(one) for one in read_records(journal)}
    fresh = []
    for one in found:
        record = asdict(one)
        # An empty answer says something only where there was another one.
        is_blank = not one.answer and not one.fault and one.slot not in last
        if not is_blank and last.get(one.slot) != _content(record):
            fresh.append(record)
            last[one.slot] = _content(record)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for number, record in enumerate(fresh, start=1):
        append_record(journal, {**record, "received": now}, sync=number == len(fresh))
    return len(fresh)


def kept(journal: Path) -> list[Submission]:
    """Return every submission of a journal, in the order in which they came."""
    found = [dict(record) for record in read_records(journal)]
    for record in found:
        del record["received"]
        record["person"] = person_name(record["person"])
    return [Submission(**record) for record in found]


def standing(submissions: Sequence[Submission]) -> list[Submission]:
    """Return the submissions that count: the last of each person on each question.

    They are in the order of question and person, whenever they came.
    """
    last: dict[tuple[str, str], Submission] = {}
    for one in submissions:
        if not one.fault:
            last[one.question, one.person] = one
    return [last[key] for key in sorted(last) if last[key].answer]


def _content(record: Mapping[str, Any]) -> list[Any]:
    return [record[name] for name in ("question", "person", "answer", "comment", "fault", "raw")]


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
