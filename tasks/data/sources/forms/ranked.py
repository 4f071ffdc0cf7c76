"""K answers to a prompt in one row, with scores or ranks."""

from __future__ import annotations

import json
from typing import Any

from tasks.data.groups import FIELDS, Group, Prompt
from tasks.data.sources.dialogue import (
    ASSISTANT,
    is_transcript,
    read_prompt,
    read_response,
    require_text,
    split_transcript,
)
from tasks.data.sources.forms.form import (
    Form,
    Row,
    is_list,
    list_of,
    number_of,
    objects_of,
    scored,
)
from tasks.settings.errors import RecordError

_SEPARATOR = "<sep>"
_ANSWERS = ("answer", "response", "text", "completion", "content")
_COMPLETIONS = "completions|responses|answers"
_SCORES = ("score", "pm_score", "overall_score", "rating")


def parse_groups(row: Row) -> Group:
    """Read our own record (a group as JSON)."""
    # Every other format checks the few texts it takes; here any value travels along.
    require_text(json.dumps(row, ensure_ascii=False), "group")
    return Group.from_json(row)


def parse_apo_release(row: Row) -> Group:
    """Read the APO release: `text` holds whole dialogues or "query<sep>response", with `scores`."""
    texts = list_of(row, "text")
    halves = [_split_apo_text(require_text(text, "text")) for text in texts]
    if len({prompt for prompt, _ in halves}) != 1:
        raise RecordError("the entries of 'text' do not share one prompt")
    replies = [reply for _, reply in halves]
    return scored(halves[0][0], replies, list_of(row, "scores"), row, row.get("query_id"))


def parse_kwise(row: Row) -> Group:
    """Read K completions of one prompt with K scores."""
    replies = [read_response(value, "completions") for value in list_of(row, "completions")]
    return scored(read_prompt(row["prompt"]), replies, list_of(row, "scores"), row)


def parse_kwise_ranks(row: Row) -> Group:
    """Read K completions of one prompt with K ranks, 1 the best."""
    scores = [-number_of(rank, "a rank") for rank in list_of(row, "ranks")]
    return parse_kwise({**row, "scores": scores})


def parse_gpt4llm(row: Row) -> Group:
    """Read the comparisons of GPT4LLM: `user_input` with `responses_and_scores`."""
    entries = objects_of(row, "responses_and_scores")
    replies = [read_response(entry.get("response"), "response") for entry in entries]
    sources = [require_text(entry.get("source", "unknown"), "source") for entry in entries]
    scores = [entry.get("score") for entry in entries]
    prompt = read_prompt(row["user_input"], "user_input")
    return scored(prompt, replies, scores, row, sources=sources)


def parse_answers(row: Row) -> Group:
    """Read a prompt with answers that are objects: a text with its score, or with its rank."""
    entries = objects_of(row, "answers")
    replies = [read_response(_first(entry, _ANSWERS), "answers") for entry in entries]
    scores = [_first(entry, _SCORES) for entry in entries]
    if None in scores:
        # Better ranks are smaller numbers.
        scores = [-number_of(entry.get("rank"), "a score or rank") for entry in entries]
    return scored(read_prompt(row["prompt"]), replies, scores, row)


def _first(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the first value that is there; Arrow fills what another entry has with null."""
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _split_apo_text(text: str) -> tuple[Prompt, str]:
    query, separator, reply = text.partition(_SEPARATOR)
    if separator:
        return read_prompt(query), reply.strip()
    if not is_transcript(text) or ASSISTANT not in text:
        raise RecordError(f"an entry of 'text' has neither {_SEPARATOR!r} nor a dialogue")
    query, _, reply = text.rpartition(ASSISTANT)
    return split_transcript(query), reply.strip()


RANKED_FORMS = {
    "groups": Form(
        parse_groups,
        ("prompt", "responses"),
        ("scores", "sources", "extra"),
        lambda types: types["prompt"] is list and FIELDS.issuperset(types),
    ),
    "apo_release": Form(parse_apo_release, ("text", "scores"), ("query_id",), is_list("text")),
    "kwise": Form(parse_kwise, ("prompt|instruction|question", _COMPLETIONS, "scores")),
    "kwise_ranks": Form(parse_kwise_ranks, ("prompt|instruction|question", _COMPLETIONS, "ranks")),
    "gpt4llm": Form(parse_gpt4llm, ("user_input", "responses_and_scores")),
    "answers": Form(
        parse_answers,
        ("prompt|question|instruction|query", "answers|completions|responses"),
        fits=lambda types: types["answers"] is list and not {"responses", "chosen"} <= types.keys(),
    ),
}
"""Forms of K answers in one row."""
