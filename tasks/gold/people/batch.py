"""One set of questions to people: laid out, taken in as it is answered, and closed once.

What people see lies in the folder that the configuration names; what they handed in is kept in the
state folder, below `people/NAME/`: `questions.jsonl`, `batch.json`, `submissions.journal`, and for
each stage that used it `closed-KEY.json`, which says how much of the journal that stage has seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from tasks.gold.people.answer_files import ANSWERS, lay_out, read_answers
from tasks.gold.people.config import PeopleConfig
from tasks.gold.people.question import (
    CHOICES,
    KINDS,
    VERDICT,
    Kind,
    Question,
    batch_name,
    to_question,
)
from tasks.gold.people.submissions import Handed, Rows, Submission, keep, kept, standing
from tasks.settings.errors import one_line
from tasks.settings.plurals import counted
from tasks.storage.digests import canonical_json
from tasks.storage.errors import CorruptError
from tasks.storage.files import put_if_absent, read_json, read_lines, write_json, write_lines
from tasks.storage.home import Home
from tasks.storage.locks import FileLock

_QUESTIONS, _ABOUT, _JOURNAL = "questions.jsonl", "batch.json", "submissions.journal"


class Standing(NamedTuple):
    """How far a set of questions is."""

    asked: int
    """Questions."""
    complete: int
    """Those with answers of as many people as are wanted."""
    missing: int
    """Answers that the others lack together."""
    answers: int
    """Answers that count."""
    superseded: int
    """Earlier submissions of the same people on the same questions."""
    late: int
    """Submissions that came after the set was closed; kept, and used by nobody."""

    def is_enough(self, share: float) -> bool:
        """Whether that share of the questions is complete."""
        return self.complete >= share * self.asked


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the answers found beside those that count."""

    blank: int = 0
    """Rows that are not filled in."""
    duplicate: int = 0
    """Rows that repeat an answer."""
    malformed: int = 0
    """Rows that are no answer, and files that cannot be read."""
    unknown: int = 0
    """Rows that answer no question of the set."""
    gone: int = 0
    """Answers that still count, and are found nowhere any more: deleted, or no answers now."""
    problems: tuple[str, ...] = ()
    """A sentence for each person with such answers, and for each of the two kinds before."""


class Batch:
    """A set of questions and what people answered.

    Attributes:
        name: What it is called, everywhere.
        config: Who is asked, and where.
        kind: What is to be given.
        questions: What is asked.
    """

    def __init__(
        self,
        home: Home,
        name: str,
        key: str,
        config: PeopleConfig,
        kind: Kind,
        questions: Sequence[Question],
    ) -> None:
        self.name, self.config, self.kind, self.questions = name, config, kind, questions
        self._folder = home.people / name
        self._closing = self._folder / f"closed-{key}.json"

    @classmethod
    def begin(
        cls,
        home: Home,
        title: str,
        key: str,
        kind: Kind,
        questions: Sequence[Question],
        config: PeopleConfig,
    ) -> Batch:
        """Return a set of questions of that title, laid out for people unless it was before.

        The key is that of the stage that asks: what it is closed for.
        """
        told = config.instructions or kind.instructions
        config = config.model_copy(update={"instructions": told})
        name = batch_name(title, kind, told, questions)
        batch = cls(home, name, key, config, kind, questions)
        lines = (canonical_json(asdict(one)).decode() for one in questions)
        if not (batch._folder / _QUESTIONS).exists():
            write_lines(batch._folder / _QUESTIONS, lines)
        # A stage's own configuration may have more keys.
        asked = config.model_dump(mode="json", include=set(PeopleConfig.model_fields))
        about = {"key": key, "kind": kind.column, "config": asked}
        write_json(batch._folder / _ABOUT, about)
        lay_out(batch.place, [one.shown(kind) for one in questions], batch.told)
        return batch

    @classmethod
    def load(cls, home: Home, name: str) -> Batch:
        """Return a set of questions that was begun.

        Raises:
            CorruptError: What was kept of it is damaged, or of another version.
        """
        folder = home.people / name
        about = read_json(folder / _ABOUT)
        try:
            questions = [to_question(json.loads(one)) for one in read_lines(folder / _QUESTIONS)]
            config = PeopleConfig.model_validate(about["config"])
            return cls(home, name, about["key"], config, KINDS[about["kind"]], questions)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{folder} is damaged, or of another version of Sparring: {one_line(error)}"
            ) from None

    @property
    def place(self) -> Path:
        """The folder in which people find the questions."""
        return Path(self.config.folder).absolute() / self.name

    @property
    def told(self) -> str:
        """What people are told beside the questions, as a page of Markdown."""
        column, config = self.kind.column, self.config
        means = f": {', '.join(CHOICES)}" if self.kind is VERDICT else ""
        people = counted(config.quorum, "person is", "people are")
        return f"""# {self.name}

{config.instructions}

1. Make a copy of `questions.csv`, or of `questions.jsonl`, which has the same
   {counted(len(self.questions), "question")}.
2. Fill in the column `{column}`{means}. What is left empty is no answer yet; `comment` may stay
   empty.
3. Put the copy into `{ANSWERS}/` under your name, such as `{ANSWERS}/anna.csv`: CSV, TSV or JSONL,
   in UTF-8. In a file of several people a column `annotator` says who answered.

{people} wanted for each question. To change an answer, change it in your file;
to take it back, empty its cell: an answer whose file or row is deleted still counts.
"""

    def take_in(self, more: Iterable[Handed] = ()) -> Look:
        """Keep what was handed in since the last look: in files, and `more` from elsewhere."""
        rows = Rows({one.id for one in self.questions}, self.kind)
        refused: list[str] = []
        with FileLock(self._folder / ".lock"):
            keep(self._journal, rows.read(read_answers(self.place, self.kind.column, refused)))
            keep(self._journal, rows.read(more))
        gone = [] if self.is_closed else rows.missing(standing(self.submissions()))
        return Look(
            rows.blank,
            rows.duplicate,
            rows.faults["malformed"] + len(refused),
            rows.faults["unknown"],
            len(gone),
            (*_still_counted(gone), *refused, *rows.problems),
        )

    def submissions(self) -> list[Submission]:
        """Return every submission that was ever made, in the order of their coming."""
        return kept(self._journal)

    def standing(self) -> Standing:
        """Say how far it is; of a closed one, what the stage used."""
        every = self.submissions()
        return standing_of(self.questions, every[: self._end], self.config.quorum, len(every))

    def close(self) -> list[Submission]:
        """Return the submissions that count: once it was closed, the same ones ever after."""
        end = {"submissions": len(self.submissions())}
        put_if_absent(self._closing, canonical_json(end) + b"\n")
        return standing(self.submissions()[: self._end])

    @property
    def is_closed(self) -> bool:
        """Whether the stage that asked has used its answers."""
        return self._closing.exists()

    @property
    def _journal(self) -> Path:
        return self._folder / _JOURNAL

    @property
    def _end(self) -> int | None:
        return int(read_json(self._closing)["submissions"]) if self.is_closed else None


def _still_counted(gone: Sequence[Submission]) -> Iterator[str]:
    for person, number in sorted(Counter(one.person for one in gone).items()):
        first = next(one.question for one in gone if one.person == person)
        which = f"question {first}" if number == 1 else f"question {first} and {number - 1} more"
        yield (
            f"{person}'s last valid answer still counts, though it is found nowhere any more "
            f"({which}): to take it back, empty its cell in a file of {person}'s"
        )


def standing_of(
    questions: Sequence[Question], used: Sequence[Submission], quorum: int, every: int
) -> Standing:
    """Say how far questions are by the submissions `used`, of `every` that there are.

    Example:
        >>> from dataclasses import replace
        >>> asked = [Question("q", "what?"), Question("r", "why?")]
        >>> first = Submission("a.csv, 1", "q", "anna", "that")
        >>> standing_of(asked, [first, replace(first, answer="this")], quorum=2, every=3)
        Standing(asked=2, complete=0, missing=3, answers=1, superseded=1, late=1)
    """
    counted = standing(used)
    people = Counter(one.question for one in counted)
    lacking = [max(0, quorum - people[one.id]) for one in questions]
    valid = sum(not one.fault and bool(one.answer) for one in used)
    return Standing(
        len(questions),
        lacking.count(0),
        sum(lacking),
        len(counted),
        valid - len(counted),
        every - len(used),
    )


def batch_names(home: Home) -> list[str]:
    """Return the names of all sets of questions, in alphabetical order."""
    return sorted(path.parent.name for path in home.people.glob(f"*/{_ABOUT}"))
