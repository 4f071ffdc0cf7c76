"""Groups as rows of a table: TRL's columns by what a group is, or a group's own fields.

TRL reads a text as a plain string, or as a list of messages, which a chat template writes. A column
has one type, so a data set is one or the other as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.data.groups import Group

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowForm:
    """One way to write groups as rows."""

    name: str
    """Name of the data set's configuration, and of the folder of its files."""
    columns: tuple[str, ...]
    """Its columns, in order."""
    rows: Callable[[Group, bool], Iterator[Row]]
    """Turns a group into rows; with True texts are messages."""
    reads: str
    """Who reads such rows, in words."""


def _pairs(group: Group, chat: bool) -> Iterator[Row]:
    best, *others = (_answer(text, chat) for text in group.responses)
    for other in others:
        yield {"prompt": _prompt(group, chat), "chosen": best, "rejected": other}


def _scored(group: Group, chat: bool) -> Iterator[Row]:
    (row,) = _unscored(group, chat)
    yield {**row, "scores": list(group.scores or ())}


def _unscored(group: Group, chat: bool) -> Iterator[Row]:
    answers = [_answer(text, chat) for text in group.responses]
    yield {"prompt": _prompt(group, chat), "completions": answers}


def _demonstration(group: Group, chat: bool) -> Iterator[Row]:
    yield {"prompt": _prompt(group, chat), "completion": _answer(group.responses[0], chat)}


def _bare_prompt(group: Group, chat: bool) -> Iterator[Row]:
    yield {"prompt": _prompt(group, chat)}


def _text(group: Group, chat: bool) -> Iterator[Row]:
    yield {"text": group.responses[0]}


def _labelled_text(group: Group, chat: bool) -> Iterator[Row]:
    yield {"text": group.responses[0], "label": (group.scores or (0.0,))[0]}


def _whole(group: Group, chat: bool) -> Iterator[Row]:
    plain = group.to_json()
    yield {name: plain.get(name) for name in GROUPS.columns}


PREFERENCE = RowForm(
    "preference",
    ("prompt", "chosen", "rejected"),
    _pairs,
    "TRL's DPOTrainer and RewardTrainer",
)
SCORED = RowForm(
    "scored",
    ("prompt", "completions", "scores"),
    _scored,
    "no trainer of TRL as they are: K answers with their scores, larger is better",
)
UNSCORED = RowForm(
    "unscored",
    ("prompt", "completions"),
    _unscored,
    "no trainer of TRL as they are: K answers that nobody scored",
)
DEMONSTRATION = RowForm(
    "demonstration", ("prompt", "completion"), _demonstration, "TRL's SFTTrainer"
)
PROMPT = RowForm("prompt", ("prompt",), _bare_prompt, "TRL's GRPOTrainer and RLOOTrainer")
TEXT = RowForm("text", ("text",), _text, "TRL's SFTTrainer")
LABELLED_TEXT = RowForm("labelled_text", ("text", "label"), _labelled_text, "classifiers")
GROUPS = RowForm(
    "groups",
    ("id", "prompt", "responses", "scores", "sources"),
    _whole,
    "Sparring, as it wrote them",
)


FORMS = (PREFERENCE, SCORED, UNSCORED, DEMONSTRATION, PROMPT, TEXT, LABELLED_TEXT, GROUPS)
"""All forms, in the order in which a card names them."""


def form_of(group: Group, keep_scores: bool = False) -> RowForm:
    """Return the form of TRL's that says all of a group.

    Args:
        group: A record.
        keep_scores: Whether the scores are what counts, of one or two responses too; otherwise
            the first of two is chosen if it has the larger score, and the second rejected.

    Example:
        >>> form_of(Group((), ("best", "worse"), (1.0, 0.0))).name
        'preference'
    """
    scores, count = group.scores, len(group.responses)
    if count == 0:
        return PROMPT
    if keep_scores and scores is not None:
        return SCORED
    if count == 1 and not group.prompt:
        return TEXT if scores is None else LABELLED_TEXT
    if count == 1:
        return DEMONSTRATION
    if scores is None:
        # Gold is better than every sample it was put before.
        is_gold = group.sources is not None and group.sources[0] == "gold"
        return PREFERENCE if is_gold else UNSCORED
    return PREFERENCE if count == 2 and scores[0] > scores[1] else SCORED


def is_plain(group: Group) -> bool:
    """Say whether a prompt is one text, and no dialogue: nothing, or one turn of the user."""
    return not group.prompt or (len(group.prompt) == 1 and group.prompt[0].role == "user")


def schema(form: RowForm, chat: bool) -> pa.Schema:
    """Return the Arrow schema of rows of a form; with `chat` texts are lists of messages."""
    import pyarrow as pa

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    text = messages if chat else pa.string()
    types = {name: text for name in ("prompt", "chosen", "rejected", "completion")}
    types |= {"completions": pa.list_(text), "scores": pa.list_(pa.float64())}
    types |= {"id": pa.string(), "text": pa.string(), "label": pa.float64()}
    types |= {"responses": pa.list_(pa.string()), "sources": pa.list_(pa.string())}
    return pa.schema([(name, types[name]) for name in form.columns])


def _prompt(group: Group, chat: bool) -> Any:
    if chat:
        return [{"role": turn.role, "content": turn.content} for turn in group.prompt]
    return group.prompt[0].content if group.prompt else ""


def _answer(text: str, chat: bool) -> Any:
    return [{"role": "assistant", "content": text}] if chat else text
