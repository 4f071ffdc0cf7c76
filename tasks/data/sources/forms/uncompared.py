"""Answers that nobody compared, queries and texts: read only where no column says more."""

from __future__ import annotations

import re
from functools import partial

from tasks.data.groups import Group, Message, normalise, text_hash
from tasks.data.sources.dialogue import read_messages, read_prompt, read_response, require_text
from tasks.data.sources.forms.form import CONTEXT, Cell, Form, Row, extra
from tasks.data.sources.forms.verdict_words import NAMED_SIDE, SIDE_WORDS
from tasks.settings.errors import RecordError

_beside = partial(re.compile, flags=re.IGNORECASE)
# IMDB's reviews come from web pages: their line breaks are the only markup in them.
_LINE_BREAKS = re.compile(r"\s*<br\s*/?>(?:\s|<br\s*/?>)*", re.IGNORECASE)
_NUMBER = r"(?:[_ ]?(?:[a-d]|[0-9]|response|messages|model|text))?"
_JUDGED = (
    "better_response_id|coherence|complexity|correctness|feedback|helpfulness|"
    "is_(?:accepted|chosen|correct|good|preferred|safe)|kto_tag|labels?|"
    "(?:human_|overall_)?(?:rating|score)|preference|ranks?|"
    "ratings?|rewards?|scores?|thumbs_(?:down|up)|verbosity|"
    f"{NAMED_SIDE}|(?:{SIDE_WORDS}){_NUMBER}"
)
_ANSWERED = (
    "(?:answers?|best_answer|chosen|completions?|ground_truth|outputs?|rejected|responses?|"
    f"solution){_NUMBER}"
)
_TOLD = f"{_JUDGED}|{_ANSWERED}"
JUDGED = _beside(_JUDGED)
"""Columns that say which answers are good: beside them no answer is taken for a demonstration."""


def parse_golden(row: Row) -> Group:
    """Read an instruction and its golden response, the one column named `golden…`."""
    prompt = read_prompt(row["instruction"], "instruction")
    reply = read_response(row["golden"], "golden")
    return Group(prompt, (reply,), sources=("gold",), extra=extra(row))


def parse_alpaca(row: Row) -> Group:
    """Read an instruction and the output; what else belongs to the prompt is put around it."""
    prompt = (Message("user", require_text(row["instruction"], "instruction").strip()),)
    return Group(prompt, (read_response(row["output"], "output"),), extra=extra(row))


def parse_query(row: Row) -> Group:
    """Read a query and its response."""
    reply = read_response(row["response"], "response")
    return Group(read_prompt(row["query"], "query"), (reply,), extra=extra(row))


def parse_completion(row: Row) -> Group:
    """Read a prompt and its completion: texts or messages."""
    reply = read_response(row["completion"], "completion")
    return Group(read_prompt(row["prompt"]), (reply,), extra=extra(row))


def parse_messages(row: Row) -> Group:
    """Read a list of messages; the last one is the response if the assistant wrote it."""
    messages = read_messages(row["messages"], "messages")
    if messages[-1].role != "assistant":
        return Group(messages, extra=extra(row))
    return Group(messages[:-1], (messages[-1].content.strip(),), extra=extra(row))


def parse_prompts(row: Row) -> Group:
    """Read a bare prompt."""
    return Group(read_prompt(row["prompt"]), extra=extra(row))


def parse_text(row: Row) -> Group:
    """Read a text as a response to nothing; its score is its label, 1 or 0, if it has one.

    A label of None or -1 (the hub's sign for IMDB's unsupervised part) is none.
    """
    text = _LINE_BREAKS.sub("\n", require_text(row["text"], "text")).strip()
    label = row.get("label")
    label = label.plain() if isinstance(label, Cell) else label
    if label not in (None, -1, 0, 1):
        raise RecordError(f"'label' should be 1, 0 or absent, is {label!r:.80}")
    return Group(
        (),
        (text,),
        None if label in (None, -1) else (float(label),),
        ("human",),
        id=text_hash("text", normalise(text)),
        extra=extra(row),
    )


UNCOMPARED_FORMS = {
    "golden": Form(parse_golden, ("instruction", "golden…")),
    "alpaca": Form(
        parse_alpaca,
        ("instruction", "output|response"),
        ("input|context", "system", "history"),
        beside=JUDGED,
    ),
    "query_response": Form(parse_query, ("query", "response"), CONTEXT, beside=JUDGED),
    "completion": Form(parse_completion, ("prompt", "completion|response"), beside=JUDGED),
    "messages": Form(
        parse_messages, ("messages|conversations",), ("system",), beside=_beside(_TOLD)
    ),
    "prompts": Form(parse_prompts, ("prompt",), beside=_beside(_TOLD)),
    "texts": Form(
        parse_text, ("text",), ("label",), beside=_beside(f"role|{_ANSWERED}|{NAMED_SIDE}")
    ),
}
"""Forms without a comparison."""
