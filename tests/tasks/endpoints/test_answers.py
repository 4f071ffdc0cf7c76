"""Bodies that a server may send: each is an answer, or a failure with a name of its own."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tasks.endpoints.answers import (
    Answer,
    CallFailed,
    Outcome,
    Usage,
    read_answer,
    require_whole,
)
from tests.servers.paid_server import chat_answer

BODY = {"messages": [{"role": "user", "content": "hello"}]}
GOOD = json.dumps(chat_answer(BODY)).encode()


def taken(content: bytes) -> Answer:
    return require_whole(read_answer(content, chat=True), content)


def sent(**changed: Any) -> bytes:
    return json.dumps(chat_answer(BODY, **changed)).encode()


def test_a_good_answer_by_hand() -> None:
    assert taken(GOOD) == Answer("HELLO", "stop", 20, 10, None, "m-1")


def test_a_completion_has_a_text() -> None:
    body = b'{"choices": [{"text": "", "finish_reason": "length", "token_ids": [3]}]}'
    assert read_answer(body, chat=False) == Answer("", "length", None, None, [3])
    with pytest.raises(CallFailed, match="message.content"):
        read_answer(body, chat=True)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b"", Outcome.broken_json),
        (GOOD[:-20], Outcome.broken_json),
        (b"\xff\xfe", Outcome.broken_json),
        (b"[" * 100_000, Outcome.broken_json),
        (b"  <!DOCTYPE html><title>502</title>", Outcome.html),
        (b"<html>busy</html>", Outcome.html),
        (b"null", Outcome.other_schema),
        (b"[]", Outcome.other_schema),
        (b'{"result": "fine"}', Outcome.other_schema),
        (b'{"choices": []}', Outcome.other_schema),
        (sent(text="a", reason="stop").replace(b'"a"', b"3"), Outcome.other_schema),
        (sent().replace(b'"HELLO"', b"null"), Outcome.other_schema),
        (b'{"choices": [{"text": "a", "finish_reason": "stop"}]}', Outcome.other_schema),
        (b'{"error": "out of memory"}', Outcome.error_inside),
        (GOOD.replace(b'{"model"', b'{"error": {"code": 1}, "model"'), Outcome.error_inside),
        (sent(reason=None), Outcome.other_reason),
        (sent(reason="abort"), Outcome.other_reason),
        (sent(reason="tool_calls"), Outcome.other_reason),
        (sent(reason="content_filter"), Outcome.filtered),
        (sent(refusal="I cannot help"), Outcome.filtered),
        (sent(reason="length"), Outcome.truncated),
        (sent(text=""), Outcome.empty),
        (sent(text=" \n"), Outcome.empty),
    ],
)
def test_what_is_no_answer_has_a_name(content: bytes, outcome: Outcome) -> None:
    with pytest.raises(CallFailed) as caught:
        taken(content)
    assert caught.value.outcome is outcome
    assert caught.value.body == content.decode("utf-8", errors="replace")


def test_tokens_are_known_of_a_useless_answer_too() -> None:
    with pytest.raises(CallFailed) as caught:
        taken(sent(reason="abort"))
    assert caught.value.usage == Usage(prompt_tokens=20, completion_tokens=10)


def test_no_damage_changes_what_is_taken() -> None:
    """However an answer is cut short or damaged: it is refused, or is what the JSON says."""
    rng, bodies = random.Random(0), [GOOD[:length] for length in range(len(GOOD))]
    for _ in range(1000):
        damaged = bytearray(GOOD)
        damaged[rng.randrange(len(damaged))] = rng.choice(b'{}[]",:x0\\\n\xff')
        bodies.append(bytes(damaged))
    accepted = 0
    for body in bodies:
        try:
            answer = taken(body)
        except CallFailed:
            continue
        choice = json.loads(body)["choices"][0]
        assert (answer.text, "stop") == (choice["message"]["content"], choice["finish_reason"])
        accepted += 1
    assert 0 < accepted < len(bodies)


def test_who_cannot_know_counts_the_worst() -> None:
    worst = {Outcome.timeout, Outcome.lost, Outcome.gateway_error}
    free = {Outcome.rate_limited, Outcome.server_error, Outcome.unreachable, Outcome.refused}
    assert {one for one in Outcome if one.billing == "worst"} == worst
    assert {one for one in Outcome if one.billing == "nothing"} == free
    final = {Outcome.answered, Outcome.truncated, Outcome.filtered, Outcome.refused}
    assert {one for one in Outcome if not one.may_pass} == final
