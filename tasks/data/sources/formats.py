"""The published forms of preference data: how to recognise a row and turn it into a group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.data.groups import Group, Message, Prompt
from tasks.data.sources.dialogue import (
    ASSISTANT,
    is_transcript,
    read_messages,
    read_prompt,
    read_response,
    require_text,
    split_shared,
    split_transcript,
)
from tasks.data.sources.texts import parse_text
from tasks.settings.errors import ConfigError, RecordError, did_you_mean
from tasks.settings.printable import printable

Row = Mapping[str, Any]
_SEPARATOR = "<sep>"


class Format(NamedTuple):
    """One published form."""

    parse: Callable[[Row], Group]
    """Turns a row into a group, or raises RecordError."""
    needs: tuple[str, ...]
    """The columns it reads; their presence is how it is recognised."""
    fits: Callable[[Row], bool] = lambda row: True
    """What else must hold for it to be recognised."""
    reads: tuple[str, ...] = ()
    """Columns that it reads where they are there; `id` is always read."""

    def ignored(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return which of a record's columns this form does not read."""
        return tuple(sorted({*columns} - {*self.needs, *self.reads, "id"}))


def detect(row: Row, where: str) -> str:
    """Return the key of the first of `FORMATS` that a row has; `where` is its file.

    Raises:
        ConfigError: None fits; the known ones are listed with their columns.
    """
    for name, form in FORMATS.items():
        if all(column in row for column in form.needs) and form.fits(row):
            return name
    columns = {name: " + ".join(form.needs) for name, form in FORMATS.items()}
    columns["golden"] += " + golden…"
    known = "; ".join(f"{name}: {needs}" for name, needs in columns.items())
    seen = ", ".join(map(printable, sorted(row)))
    raise ConfigError(
        f"{where}: cannot tell the format from the columns {seen}; rename "
        f"columns with `fields`, or choose a `format`. Known formats: {known}"
    )


def require_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: There is none; the known ones are listed.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown data format {name!r}{did_you_mean(name, ['auto', *FORMATS])}")
    return FORMATS[name]


def parse_groups(row: Row) -> Group:
    """Read our own record (a group as JSON)."""
    # Every other format checks the few texts it takes; here any value travels along.
    require_text(json.dumps(row, ensure_ascii=False), "group")
    return Group.from_json(row)


def parse_apo_release(row: Row) -> Group:
    """Read the APO release: `text` holds whole dialogues or "query<sep>response", with `scores`."""
    texts = _list(row, "text")
    halves = [_split_apo_text(require_text(text, "text")) for text in texts]
    if len({prompt for prompt, _ in halves}) != 1:
        raise RecordError("the entries of 'text' do not share one prompt")
    identity = row.get("query_id")
    replies = [reply for _, reply in halves]
    return _scored(halves[0][0], replies, _list(row, "scores"), row, identity)


def parse_kwise(row: Row) -> Group:
    """Read K completions of one prompt with K scores."""
    replies = [read_response(value, "completions") for value in _list(row, "completions")]
    return _scored(read_prompt(row["prompt"]), replies, _list(row, "scores"), row)


def parse_gpt4llm(row: Row) -> Group:
    """Read the comparisons of GPT4LLM: `user_input` with `responses_and_scores`."""
    entries = _list(row, "responses_and_scores")
    if not all(isinstance(entry, dict) for entry in entries):
        raise RecordError("'responses_and_scores' should hold objects")
    replies = [read_response(entry.get("response"), "response") for entry in entries]
    sources = [require_text(entry.get("source", "unknown"), "source") for entry in entries]
    scores = [entry.get("score") for entry in entries]
    prompt = read_prompt(row["user_input"], "user_input")
    return _scored(prompt, replies, scores, row, sources=sources)


def parse_webgpt(row: Row) -> Group:
    """Read OpenAI's WebGPT comparisons: a question, two answers, two scores (equal: a tie)."""
    question = row["question"]
    if isinstance(question, dict):
        question = question.get("full_text")
    replies = [read_response(row[name], name) for name in ("answer_0", "answer_1")]
    scores = [row["score_0"], row["score_1"]]
    return _scored(read_prompt(question, "question"), replies, scores, row)


def parse_golden(row: Row) -> Group:
    """Read an instruction and its golden response, the one column named `golden…`."""
    column = _golden_column(row)
    if column is None:
        raise RecordError("there is no one column named 'golden…'; name it in `fields`")
    prompt = read_prompt(row["instruction"], "instruction")
    reply = read_response(row[column], column)
    return Group(prompt, (reply,), sources=("gold",), extra=_extra(row))


def parse_alpaca(row: Row) -> Group:
    """Read an instruction, its optional input, and the output."""
    text = require_text(row["instruction"], "instruction")
    given = require_text(row.get("input") or "", "input")
    prompt = (Message("user", f"{text}\n\n{given}".strip() if given.strip() else text.strip()),)
    return Group(prompt, (read_response(row["output"], "output"),), extra=_extra(row))


def parse_hh_transcripts(row: Row) -> Group:
    """Read two whole dialogues that differ in the last reply, as HH-RLHF is published."""
    chosen, rejected = (require_text(row[name], name) for name in ("chosen", "rejected"))
    prompt, *replies = split_shared(chosen, rejected)
    return _pair(prompt, replies[0], replies[1], row)


def parse_pairs(row: Row) -> Group:
    """Read prompt, chosen, rejected: texts or messages; the prompt may be implicit in messages."""
    if "prompt" in row:
        chosen, rejected = (read_response(row[name], name) for name in ("chosen", "rejected"))
        return _pair(read_prompt(row["prompt"]), chosen, rejected, row)
    dialogues = [read_messages(row[name], name) for name in ("chosen", "rejected")]
    prompt = dialogues[0][:-1]
    if not prompt or prompt != dialogues[1][:-1]:
        raise RecordError("the two lists of messages do not share a prompt")
    if {dialogue[-1].role for dialogue in dialogues} != {"assistant"}:
        raise RecordError("the last message should be the assistant's")
    return _pair(prompt, dialogues[0][-1].content, dialogues[1][-1].content, row)


def parse_completion(row: Row) -> Group:
    """Read a prompt and its completion: texts or messages."""
    reply = read_response(row["completion"], "completion")
    return Group(read_prompt(row["prompt"]), (reply,), extra=_extra(row))


def parse_messages(row: Row) -> Group:
    """Read a list of messages; the last one is the response if the assistant wrote it."""
    messages = read_messages(row["messages"], "messages")
    if messages[-1].role != "assistant":
        return Group(messages, extra=_extra(row))
    return Group(messages[:-1], (messages[-1].content.strip(),), extra=_extra(row))


def parse_prompts(row: Row) -> Group:
    """Read a bare prompt."""
    return Group(read_prompt(row["prompt"]), extra=_extra(row))


FORMATS: dict[str, Format] = {
    "groups": Format(parse_groups, ("prompt", "responses"), reads=("scores", "sources", "extra")),
    "apo_release": Format(parse_apo_release, ("text", "scores"), reads=("query_id",)),
    "kwise": Format(parse_kwise, ("prompt", "completions", "scores")),
    "gpt4llm": Format(parse_gpt4llm, ("user_input", "responses_and_scores")),
    "webgpt": Format(parse_webgpt, ("question", "answer_0", "answer_1", "score_0", "score_1")),
    "golden": Format(parse_golden, ("instruction",), lambda row: _golden_column(row) is not None),
    "alpaca": Format(parse_alpaca, ("instruction", "output"), reads=("input",)),
    "hh_transcripts": Format(
        parse_hh_transcripts,
        ("chosen", "rejected"),
        lambda row: "prompt" not in row and isinstance(row["chosen"], str),
    ),
    "pairs": Format(parse_pairs, ("chosen", "rejected"), reads=("prompt",)),
    "completion": Format(parse_completion, ("prompt", "completion")),
    "messages": Format(parse_messages, ("messages",)),
    "prompts": Format(parse_prompts, ("prompt",)),
    "texts": Format(parse_text, ("text",), reads=("label",)),
}


def _golden_column(row: Row) -> str | None:
    names = [name for name in row if name.startswith("golden")]
    if "golden" in names:
        return "golden"
    return names[0] if len(names) == 1 else None


def _list(row: Row, name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list) or not value:
        raise RecordError(f"{name!r} should be a list with entries")
    return value


def _split_apo_text(text: str) -> tuple[Prompt, str]:
    query, separator, reply = text.partition(_SEPARATOR)
    if separator:
        return read_prompt(query), reply.strip()
    if not is_transcript(text) or ASSISTANT not in text:
        raise RecordError(f"an entry of 'text' has neither {_SEPARATOR!r} nor a dialogue")
    query, _, reply = text.rpartition(ASSISTANT)
    return split_transcript(query), reply.strip()


def _pair(prompt: Prompt, chosen: str, rejected: str, row: Row) -> Group:
    return Group(prompt, (chosen, rejected), (1.0, 0.0), extra=_extra(row))


def _scored(
    prompt: Prompt,
    replies: Sequence[str],
    scores: Sequence[Any],
    row: Row,
    identity: Any = None,
    sources: Sequence[str] | None = None,
) -> Group:
    """Build a group with the best response first, so that column 0 of a pair is the chosen one."""
    if len(scores) != len(replies):
        raise RecordError(f"{len(scores)} scores for {len(replies)} responses")
    for score in scores:
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not math.isfinite(score):
            raise RecordError(f"a score should be a finite number, is {score!r:.80}")
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    return Group(
        prompt,
        tuple(replies[k] for k in order),
        tuple(float(scores[k]) for k in order),
        tuple(sources[k] for k in order) if sources else None,
        extra=_extra(row, identity),
    )


def _extra(row: Row, identity: Any = None) -> dict[str, Any]:
    """Keep the row's own name, so that a record can be found again in its source."""
    name = identity if identity is not None else row.get("id")
    if isinstance(name, str):
        return {"record": require_text(name, "id")}
    return {"record": name} if isinstance(name, int) else {}
