"""Asking a server that fails in many ways: all is answered in the end, and no garbage is taken."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks.models.server.client import CompletionClient, RefusedError
from tasks.settings.errors import StageError
from tests.servers.openai_server import FakeServer, answer_of

BODY = {"prompt": [1, 2], "max_tokens": 8}
GOOD = json.dumps(answer_of(BODY, "good")).encode()
GARBAGE = [
    b"", b"{}", b"[]", b"null", b"<html>busy</html>", GOOD[:-20], b"\xff\xfe",
    b'{"choices": []}',
    b'{"choices": [{"text": "", "finish_reason": "stop"}, {"text": "", "finish_reason": "stop"}]}',
    b'{"choices": [{"finish_reason": "stop"}]}',
    b'{"choices": [{"text": null, "finish_reason": "stop"}]}',
    b'{"choices": [{"text": 3, "finish_reason": "stop"}]}',
    b'{"choices": [{"text": "a"}]}',
    b'{"choices": [{"text": "a", "finish_reason": null}]}',
    b'{"choices": [{"text": "a", "finish_reason": "abort"}]}',
    b'{"choices": [{"text": "a", "finish_reason": "content_filter"}]}',
    b'{"choices": [{"text": "a", "finish_reason": "stop", "token_ids": ["x"]}]}',
    b'{"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"prompt_tokens": -1}}',
    b'{"error": "out of memory"}',
]  # fmt: skip


@pytest.mark.parametrize(
    "fault", ["reset", "slow", (429, {}), (500, {}), (503, {}), (408, {}), b"{}"]
)
def test_a_fault_that_passes_is_met_by_another_attempt(
    fake: FakeServer, served: Any, fault: Any
) -> None:
    fake.faults.extend([fault, fault])
    with CompletionClient(served(request_seconds=0.3)) as client:
        answer = client.ask(BODY)
    assert (answer.text, answer.reason, answer.tokens, answer.ids) == ("fine", "stop", 3, None)
    assert fake.bodies == [BODY] * 3


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_never_taken_and_named_in_the_end(
    fake: FakeServer, served: Any, garbage: bytes
) -> None:
    fake.faults.extend([garbage] * 3)
    with CompletionClient(served(retries=2)) as client:
        with pytest.raises(StageError) as caught:
            client.ask(BODY)
        message = str(caught.value)
        assert "no completion in 3 attempts" in message and "last words" in message
        assert "is no completion (" in message or "finish_reason is" in message
        assert client.ask(BODY).text == "fine"


def test_no_part_of_an_answer_is_taken_for_one(fake: FakeServer, served: Any) -> None:
    """However an answer is cut short or damaged: it is refused, or still says the same."""
    rng, bodies = random.Random(0), [GOOD[:length] for length in range(0, len(GOOD), 3)]
    for _ in range(150):
        damaged = bytearray(GOOD)
        damaged[rng.randrange(len(damaged))] = rng.choice(b'{}[]",:x0\\\n\xff')
        bodies.append(bytes(damaged))
    with CompletionClient(served(retries=0)) as client:
        for body in bodies:
            fake.faults.append(body)
            try:
                answer = client.ask(BODY)
            except StageError:
                continue
            choice = json.loads(body)["choices"][0]
            assert (answer.text, answer.reason) == (choice["text"], choice["finish_reason"])


def test_all_are_answered_at_half_faults(fake: FakeServer, served: Any) -> None:
    rng = random.Random(1)
    kinds = ["reset", (429, {"Retry_After": "0.01"}), (500, {}), (502, {}), b"{", GARBAGE[14]]
    fake.faults.extend(rng.choice(kinds) if rng.random() < 0.5 else None for _ in range(4000))
    fake.reply = lambda body: answer_of(body, f"to {body['seed']}")
    with (
        CompletionClient(served(retries=20, concurrency=16)) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        asked = [pool.submit(client.ask, {**BODY, "seed": seed}) for seed in range(300)]
        assert [future.result().text for future in asked] == [f"to {seed}" for seed in range(300)]
    assert 450 < len(fake.bodies) < 750
    assert fake.busiest <= 16


def test_retry_after_holds_everybody_back(fake: FakeServer, served: Any) -> None:
    fake.faults.append((429, {"Retry_After": "0.7"}))
    with CompletionClient(served()) as client, ThreadPoolExecutor(2) as pool:
        started = time.monotonic()
        first = pool.submit(client.ask, BODY)
        time.sleep(0.2)
        client.ask(BODY)
        assert time.monotonic() - started >= 0.7
        assert first.result().text == "fine"


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_a_refusal_is_not_asked_again(fake: FakeServer, served: Any, status: int) -> None:
    fake.faults.append((status, {"Location": "http://127.0.0.1:9/v1/completions"}))
    with CompletionClient(served()) as client:
        with pytest.raises(RefusedError, match=f"refuses a request: {status} busy") as caught:
            client.ask(BODY)
    assert caught.value.status == status
    assert len(fake.bodies) == 1


def test_a_server_that_ended_is_not_asked_again(fake: FakeServer, served: Any) -> None:
    ours = served()
    fake.faults.append("reset")
    ours.child.code = 9
    with (
        CompletionClient(ours) as client,
        pytest.raises(StageError, match="ended with status 9(?s:.*)last words"),
    ):
        client.ask(BODY)
    assert len(fake.bodies) == 1


def test_who_waits_gives_up_when_the_client_ends(fake: FakeServer, served: Any) -> None:
    fake.faults.append((429, {"Retry_After": "600"}))
    with ThreadPoolExecutor(1) as pool:
        with CompletionClient(served()) as client:
            waiting = pool.submit(client.ask, BODY)
            while not fake.bodies:
                time.sleep(0.01)
        with pytest.raises(StageError, match="given up"):
            waiting.result(timeout=5)
