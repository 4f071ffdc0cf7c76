"""One call of a server, and the layer that asks again: what is sent, what each failure becomes."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.endpoints.answers import CallFailed, Outcome
from tasks.endpoints.client import Connection, EndpointClient, stopping_error
from tasks.endpoints.config import PatienceConfig
from tasks.endpoints.limiter import Pauses
from tasks.endpoints.retries import Retries
from tasks.settings.errors import BudgetExhausted, ConfigError, StageError
from tests.servers.paid_server import PaidServer
from tests.tasks.endpoints.conftest import QUICK

KEY = "sk-canary-123456"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def post(server: PaidServer) -> Callable[..., bytes]:
    def call(url: str = "", key: str = KEY, **patience: Any) -> bytes:
        connection = Connection(url or server.url, key)
        with EndpointClient(connection, PatienceConfig(**{**QUICK, **patience})) as client:
            return client.post("/chat/completions", BODY, headers={"X-Ours": "1"})

    return call


def failure(post: Callable[..., bytes], **given: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        post(**given)
    return caught.value


def test_one_request_with_the_key_and_what_we_say(server: PaidServer, post: Any) -> None:
    assert b"HELLO" in post()
    assert server.bodies == [BODY] and server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["x-ours"] == "1"


def test_a_key_that_an_answer_repeats_is_not_kept(server: PaidServer, post: Any) -> None:
    server.reply = lambda _: f"<html>{KEY}</html>".encode()
    assert post() == b"<html>***</html>"


def test_without_a_key_none_of_the_environment_is_sent(
    server: PaidServer, post: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    post(key="")
    assert "authorization" not in server.headers[0] and KEY not in str(server.headers)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (429, Outcome.rate_limited),
        (500, Outcome.server_error),
        (503, Outcome.server_error),
        (529, Outcome.server_error),
        (409, Outcome.server_error),
        (408, Outcome.gateway_error),
        (502, Outcome.gateway_error),
        (504, Outcome.gateway_error),
        (400, Outcome.refused),
        (413, Outcome.refused),
        (422, Outcome.refused),
    ],
)
def test_a_status_has_a_name_and_is_met_by_no_second_request(
    server: PaidServer, post: Any, status: int, outcome: Outcome
) -> None:
    server.reply = lambda body: (status, {"Retry-After": "7"}, f"because {KEY}".encode())
    found = failure(post)
    assert (found.outcome, found.status, found.retry_after) == (outcome, status, 7.0)
    assert stopping_error(found) is None
    assert found.body == "because ***" and KEY not in str(found)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, b"wrong key sk-canary-123456", ConfigError, r"does not accept the key: 401 .*\*\*\*"),
        (403, b"no", ConfigError, "does not accept the key"),
        (404, b"no model m", ConfigError, "no such model or address: 404 no model m"),
        (402, b"pay", BudgetExhausted, "nothing left"),
        (429, b'{"error": {"code": "insufficient_quota"}}', BudgetExhausted, "nothing left"),
    ],
)
def test_what_no_request_can_mend_stops_at_once(
    server: PaidServer, post: Any, status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    server.reply = lambda _: (status, {}, body)
    error = stopping_error(failure(post))
    assert type(error) is kind and re.search(words, str(error))
    assert KEY not in str(error) and len(server.bodies) == 1


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest/meta-data", "elsewhere"])
def test_no_redirect_is_followed(server: PaidServer, post: Any, place: str) -> None:
    with PaidServer() as other:
        target = other.url if place == "elsewhere" else place
        server.reply = lambda _: (307, {"Location": target}, b"")
        error = stopping_error(failure(post))
        assert isinstance(error, ConfigError) and repr(target) in str(error)
        assert "no redirect is followed" in str(error) and not other.headers


def test_silence_a_reset_and_nobody_there_differ(
    server: PaidServer, post: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pause = 0.4
    assert failure(post, request_seconds=0.1).outcome is Outcome.timeout
    server.pause = 0.0
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert failure(post, url=address).outcome is Outcome.unreachable
    server.faults = 1.0
    monkeypatch.setattr("tests.servers.paid_server.KINDS", ("reset",))
    assert failure(post).outcome is Outcome.lost


def test_nothing_is_logged_that_holds_the_key(
    server: PaidServer, post: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    post()
    server.reply = lambda _: (401, {}, KEY.encode())
    failure(post)
    assert caplog.text and KEY not in caplog.text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-5", 0.0),
        ("99999", 600.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 600.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    server: PaidServer, post: Any, header: str, seconds: float
) -> None:
    server.reply = lambda _: (429, {"Retry-After": header}, b"")
    assert failure(post).retry_after == seconds


# Asking again


def retries(**patience: Any) -> Retries:
    return Retries(PatienceConfig(**{**QUICK, **patience}), Pauses())


def failing(outcome: Outcome, times: int, seen: list[int], **more: Any) -> Callable[[int], str]:
    def attempt(number: int) -> str:
        seen.append(number)
        if number < times:
            raise CallFailed(outcome, "no", **more)
        return "fine"

    return attempt


def test_what_may_pass_is_asked_again() -> None:
    seen: list[int] = []
    assert retries().call(failing(Outcome.html, 3, seen)) == "fine"
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("outcome", [Outcome.truncated, Outcome.filtered, Outcome.refused])
def test_what_cannot_pass_is_not(outcome: Outcome) -> None:
    seen: list[int] = []
    with pytest.raises(CallFailed):
        retries().call(failing(outcome, 3, seen))
    assert seen == [0]


def test_the_last_failure_is_told_and_other_errors_pass_at_once() -> None:
    seen: list[int] = []
    with pytest.raises(CallFailed) as caught:
        retries(retries=2).call(failing(Outcome.lost, 99, seen))
    assert caught.value.outcome is Outcome.lost and seen == [0, 1, 2]

    def broken(number: int) -> str:
        seen.append(number)
        raise ConfigError("wrong key")

    with pytest.raises(ConfigError):
        retries().call(broken)
    assert len(seen) == 4


def test_retry_after_holds_every_call() -> None:
    layer, seen = retries(), list[int]()
    with pytest.raises(CallFailed):
        one = retries(retries=0)
        one.call(failing(Outcome.rate_limited, 9, seen, retry_after=0.2))
    began = time.monotonic()
    one.pauses.wait_turn()
    assert time.monotonic() - began > 0.1
    layer.pauses.wait_turn()


def test_a_dead_server_ends_in_one_sentence_and_few_requests() -> None:
    seen: list[int] = []
    patience = {"retries": 0, "breaker_failures": 4, "breaker_seconds": 0.01, "breaker_probes": 3}
    layer = retries(**patience)
    with pytest.raises(StageError, match="given up after 3 probes in vain"):
        for _ in range(100):
            with pytest.raises(CallFailed):
                layer.call(failing(Outcome.unreachable, 99, seen))
    assert len(seen) == 4 + 3
