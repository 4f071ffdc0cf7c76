"""Preferences between a chosen and a rejected answer, in the forms that toolkits and sets use."""

from __future__ import annotations

from typing import Any

from tasks.data.groups import Group, Prompt, normalise
from tasks.data.sources.dialogue import (
    is_transcript,
    read_dialogue,
    read_messages,
    read_prompt,
    require_text,
    split_shared,
)
from tasks.data.sources.forms.form import CONTEXT, Form, Row, extra, is_list, pair
from tasks.settings.errors import RecordError


def parse_pairs(row: Row) -> Group:
    """Read a chosen and a rejected answer to a prompt, or two whole dialogues that end in them.

    Answers are texts, one message, lists of messages, or lists of equally good texts.
    """
    chosen, rejected = row["chosen"], row["rejected"]
    prompt = read_prompt(row["prompt"]) if "prompt" in row else ()
    if prompt and isinstance(chosen, str) and isinstance(rejected, str):
        return _text_pair(prompt, chosen, rejected, row)
    if prompt and _are_texts(chosen) and _are_texts(rejected):
        texts = [require_text(text, "chosen").strip() for text in (*chosen, *rejected)]
        scores = (1.0,) * len(chosen) + (0.0,) * len(rejected)
        return Group(prompt, tuple(texts), scores, extra=extra(row))
    turns, best = read_dialogue(chosen, "chosen")
    other_turns, worst = read_dialogue(rejected, "rejected")
    if turns != other_turns:
        raise RecordError("'chosen' and 'rejected' do not share a prompt, they differ earlier")
    if not turns and not prompt:
        raise RecordError(
            "'chosen' and 'rejected' do not share a prompt; if another column holds it, name it: "
            "`fields: {prompt: …}`"
        )
    return pair(_agreed(prompt, turns) if prompt and turns else prompt or turns, best, worst, row)


def parse_hh_transcripts(row: Row) -> Group:
    """Read two whole dialogues that differ in the last reply, as HH-RLHF is published."""
    chosen, rejected = (require_text(row[name], name) for name in ("chosen", "rejected"))
    prompt, *replies = split_shared(chosen, rejected)
    return pair(prompt, replies[0], replies[1], row)


def parse_instruction_pairs(row: Row) -> Group:
    """Read a question or instruction with a chosen and a rejected answer."""
    return parse_pairs({**row, "prompt": row["instruction"]})


def parse_message_pairs(row: Row) -> Group:
    """Read messages with a chosen and a rejected message; they may end with the chosen one."""
    prompt = read_messages(row["messages"], "messages")
    _, chosen = read_dialogue(row["chosen"], "chosen")
    if prompt[-1].role == "assistant":
        if prompt[-1].content.strip() != chosen:
            raise RecordError("'messages' ends with an answer that is not the one in 'chosen'")
        prompt = prompt[:-1]
    return parse_pairs({**row, "prompt": [message._asdict() for message in prompt]})


def parse_rejected_beside(row: Row) -> Group:
    """Read messages whose last turn is the chosen answer, and a rejected answer beside them."""
    prompt, chosen = read_dialogue(row["messages"], "messages")
    turns, rejected = read_dialogue(row["rejected_response"], "rejected_response")
    if not prompt or turns not in ((), prompt):
        raise RecordError("'messages' and the rejected messages do not share a prompt")
    return pair(prompt, chosen, rejected, row)


def parse_query_pairs(row: Row) -> Group:
    """Read a query, its response, and the response that was rejected."""
    sides = {"chosen": row["response"], "rejected": row["rejected_response"]}
    return parse_pairs({**row, "prompt": row["query"], **sides})


def parse_stack_exchange(row: Row) -> Group:
    """Read a question with two answers, of which `response_j` is the better one."""
    better, worse = (require_text(row[name], name).strip() for name in _STACK_EXCHANGE)
    return pair(read_prompt(row["question"], "question"), better, worse, row)


def parse_ranked_outputs(row: Row) -> Group:
    """Read an instruction and its outputs, the best first."""
    texts = tuple([require_text(text, "output").strip() for text in row["output"]])
    if len(texts) < 2:
        raise RecordError("'output' should be a text, or a list of at least two, the best first")
    scores = tuple([float(place) for place in reversed(range(len(texts)))])
    return Group(read_prompt(row["instruction"]), texts, scores, extra=extra(row))


def _text_pair(prompt: Prompt, chosen: str, rejected: str, row: Row) -> Group:
    texts = require_text(chosen, "chosen"), require_text(rejected, "rejected")
    # An answer may look like a transcript: only two of them are dialogues that hold the prompt.
    if all(map(is_transcript, texts)):
        shared, *replies = split_shared(*texts)
        return pair(_agreed(prompt, shared), replies[0], replies[1], row)
    return pair(prompt, texts[0].strip(), texts[1].strip(), row)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _agreed(prompt: Prompt, shared: Prompt) -> Prompt:
    """Return the fuller one of `prompt` and what the dialogues share, if they say the same."""
    one, other = ([(role, normalise(text)) for role, text in turns] for turns in (prompt, shared))
    size = len(one)
    if one in (other[:size], other[-size:]) or (size == 1 and one[0] in other):
        return shared
    if other == one[-len(other) :]:
        return prompt
    raise RecordError("'prompt' is not what the dialogues in 'chosen' and 'rejected' share")


_SIDES = ("chosen|chosen_response", "rejected|rejected_response")
_STACK_EXCHANGE = ("response_j", "response_k")
PAIR_FORMS = {
    "instruction_pairs": Form(
        parse_instruction_pairs,
        ("instruction|question|query|input", *_SIDES),
        CONTEXT,
        lambda types: "prompt" not in types,
    ),
    "message_pairs": Form(
        parse_message_pairs,
        ("messages|conversations", *_SIDES),
        ("system",),
        lambda types: "prompt" not in types,
    ),
    "hh_transcripts": Form(
        parse_hh_transcripts,
        ("chosen", "rejected"),
        fits=lambda types: "prompt" not in types and issubclass(types["chosen"], str),
    ),
    "pairs": Form(parse_pairs, _SIDES, ("prompt",)),
    "rejected_beside": Form(
        parse_rejected_beside,
        ("messages|conversations", "rejected_response|rejected_messages"),
        ("system",),
    ),
    "query_pairs": Form(parse_query_pairs, ("query", "response", "rejected_response"), CONTEXT),
    "stack_exchange": Form(parse_stack_exchange, ("question", *_STACK_EXCHANGE)),
    "ranked_outputs": Form(
        parse_ranked_outputs, ("instruction", "output"), CONTEXT, is_list("output")
    ),
}
"""Forms of one better and one worse answer, the more telling before the plainer ones."""
