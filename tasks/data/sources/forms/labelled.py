"""One answer to a prompt per row, with a score or label; those of one prompt are joined."""

from __future__ import annotations

from tasks.data.groups import Group, Prompt, scores_of
from tasks.data.sources.dialogue import read_dialogue, read_prompt, read_response, told
from tasks.data.sources.forms.form import Cell, Form, Row, Types, extra, number_of
from tasks.settings.errors import RecordError


def parse_rated(row: Row) -> Group:
    """Read one answer to a prompt with its score; `merge_rated` joins those of one prompt."""
    score = number_of(row["score"])
    reply = read_response(row["response"], "response")
    return Group(read_prompt(row["prompt"]), (reply,), (score,), extra=extra(row))


def merge_rated(groups: list[Group]) -> list[Group]:
    """Join the answers to one prompt; one alone compares nothing."""
    return [_joined(groups)] if len(groups) > 1 else []


def parse_labelled(row: Row) -> Group:
    """Read one answer that is labelled good or bad; `merge_labelled` joins those of one prompt."""
    reply = read_response(row["completion"], "completion")
    return _labelled(read_prompt(row["prompt"]), reply, row)


def parse_labelled_messages(row: Row) -> Group:
    """Read messages whose last turn is labelled good or bad."""
    prompt, reply = read_dialogue(row["messages"], "messages")
    return _labelled(prompt, reply, row)


def merge_labelled(groups: list[Group]) -> list[Group]:
    """Make a comparison of good and bad answers to one prompt; good ones alone are demonstrations.

    Bad ones alone give nothing.
    """
    scores = [group.scores for group in groups]
    if (0.0,) not in scores:
        return [Group(group.prompt, group.responses, extra=group.extra) for group in groups]
    return [_joined(groups)] if (1.0,) in scores else []


def _joined(groups: list[Group]) -> Group:
    """Return the answers of several groups of one prompt as one group, the best answer first."""
    answers = [(group.responses[0], scores_of(group)[0]) for group in groups]
    answers.sort(key=lambda answer: -answer[1])
    replies, scores = zip(*answers, strict=True)
    return Group(groups[0].prompt, replies, scores, extra=groups[0].extra)


def _labelled(prompt: Prompt, reply: str, row: Row) -> Group:
    label = row["label"]
    label = label.plain() if isinstance(label, Cell) else label
    if label not in (0, 1):
        raise RecordError(f"'label' should be true or false, is {told(label)}")
    return Group(prompt, (reply,), (float(label),), extra=extra(row))


def _is_label(types: Types) -> bool:
    # A text is no label, but nothing else either: the parser says what it should be.
    return types["label"] in (bool, int, Cell) or (types["label"] is str and "score" not in types)


LABELLED_FORMS = {
    "labelled": Form(
        parse_labelled,
        ("prompt|instruction|query", "completion|response", "label|kto_tag"),
        fits=_is_label,
        merge=merge_labelled,
        alone="labelled_bad",
    ),
    "labelled_messages": Form(
        parse_labelled_messages,
        ("messages|conversations", "label|kto_tag"),
        ("system",),
        _is_label,
        merge=merge_labelled,
        alone="labelled_bad",
    ),
    "rated": Form(
        parse_rated,
        ("prompt|instruction|query", "response|completion", "score"),
        merge=merge_rated,
        alone="rated_alone",
    ),
}
"""Forms of one judged answer per row."""
