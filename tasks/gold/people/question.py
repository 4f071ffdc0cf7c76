"""What people are asked: to answer a prompt, or to compare two answers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from tasks.storage.digests import sha256_json

Choice = Literal["A", "B", "tie"]
"""What people say of two answers, by the place in which they saw them."""
CHOICES = get_args(Choice)
_WAYS = {choice.lower(): choice for choice in CHOICES}


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that people are asked."""

    id: str
    """By which an answer names it."""
    prompt: str
    """What is to be answered, or what both answers answer."""
    a: str = ""
    """The answer shown first; empty where people write one."""
    b: str = ""
    """The answer shown second."""
    reference: str | None = None
    """A golden answer, shown beside the two."""

    def shown(self, kind: Kind) -> dict[str, str]:
        """Return its columns, with the empty one that people fill in."""
        columns = {"id": self.id, "prompt": self.prompt}
        if self.reference is not None:
            columns["reference"] = self.reference
        if kind is VERDICT:
            columns |= {"a": self.a, "b": self.b}
        return {**columns, kind.column: "", "comment": ""}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is to be given."""

    column: str
    """Name of the column that people fill in."""
    instructions: str
    """What they are told where the configuration says nothing."""

    def read(self, value: Any) -> tuple[str, str]:
        """Return an answer in its own form, empty for none, and what is wrong with it, if a thing.

        Example:
            >>> VERDICT.read(" b "), VERDICT.read(None)
            (('B', ''), ('', ''))
            >>> VERDICT.read("C")
            ('', "verdict 'C' is none of A, B, tie")
        """
        if value is None:
            return "", ""
        if not isinstance(value, str):
            return "", f"{self.column} is no text: {value!r:.60}"
        text = value.strip()
        if self is not VERDICT or not text:
            return text, ""
        choice = _WAYS.get(text.lower(), "")
        return choice, "" if choice else f"verdict {text[:40]!r} is none of {', '.join(CHOICES)}"


RESPONSE = Kind(
    "response", "Write the best answer you can give: helpful, correct, and harmful to nobody."
)
VERDICT = Kind("verdict", "Which of the two answers is better? Say A, B or tie.")
KINDS = {kind.column: kind for kind in (RESPONSE, VERDICT)}
"""The kinds of questions by the column that people fill in."""


def batch_name(title: str, kind: Kind, instructions: str, questions: Sequence[Question]) -> str:
    """Return the name of a set of questions, which says what is asked and nothing of who answers.

    The same questions have the same name, so that answers to them are found again.
    """
    asked = [kind.column, instructions, [asdict(one) for one in questions]]
    words = "".join(sign if sign.isalnum() else "-" for sign in title.lower())
    short = "-".join(filter(None, words.split("-")))[:60]
    return f"{short or kind.column}-{sha256_json(asked)[:8]}"


def to_question(fields: Mapping[str, Any]) -> Question:
    """Return a question from what `dataclasses.asdict` made of it."""
    return Question(**fields)
