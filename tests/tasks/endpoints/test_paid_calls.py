"""Paid requests: looked up, reserved, sent, settled; each answered once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.endpoints.prices import Charge
from tasks.settings.errors import BudgetExhausted, ConfigError, StageError
from tests.servers.paid_server import PaidServer, chat_answer, said
from tests.tasks.endpoints.conftest import ME, REAL, asked, requests_of, wait_for, worst_dollars


def test_answers_are_kept_paid_and_counted(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    found, tally = asked(config_of(), tmp_path, requests_of(3))
    assert {name: result.text for name, result in found.items() if isinstance(result, Answer)} == {
        "q0": "PROMPT 0",
        "q1": "PROMPT 1",
        "q2": "PROMPT 2",
    }
    assert tally.metrics() == pytest.approx(
        {
            "requests": 3.0,
            "answered_before": 0.0,
            "prompt_tokens": 60.0,
            "completion_tokens": 30.0,
            "dollars": 3 * REAL,
        }
    )
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"]) == ("m", 16)
    assert Ledger(tmp_path).spent("work-1") == pytest.approx((3 * REAL, 90))


def test_no_run_asks_what_another_was_answered(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    first, _ = asked(config_of(), tmp_path, requests_of(3))
    again, tally = asked(config_of(), tmp_path, requests_of(4), Account("run-2", "judge", "other"))
    assert {name: again[name] for name in first} == first
    assert (tally.cached, tally.sent) == (3, 1)
    assert server.received["prompt 0"] == 1


def test_another_sample_parameter_or_model_is_another_request(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    plain = requests_of(1)
    for config, requests in (
        (config_of(), plain),
        (config_of(), requests_of(1, sample=1)),
        (config_of(), requests_of(1, parameters={"temperature": 0.5})),
        (config_of(model="m-2"), plain),
        (config_of(), [ChatRequest("q", plain[0].messages, 17)]),
        (config_of(limit_key="max_completion_tokens"), plain),  # the same, called otherwise
    ):
        asked(config, tmp_path, requests)
    assert server.received["prompt 0"] == 5
    assert server.bodies[2]["temperature"] == 0.5


def test_the_same_request_twice_is_sent_once(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    (one,) = requests_of(1)
    twin = ChatRequest("twin", one.messages, one.max_tokens)
    found, _ = asked(config_of(), tmp_path, [one, twin])
    assert found["q0"] == found["twin"] and server.received["prompt 0"] == 1


def test_useless_answers_are_paid_parked_and_asked_again_another_time(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    server.reply = lambda body: b"<html>" if said(body) == "prompt 1" else chat_answer(body)
    found, tally = asked(config_of(patience={"retries": 2}), tmp_path, requests_of(3))
    assert found["q1"] == Unanswered(
        Outcome.html, "200 with what is no completion (HTML): '<html>'", "<html>"
    )
    assert (tally.answered, tally.unanswered, tally.sent) == (2, 1, 5)
    assert tally.charge.dollars == pytest.approx(2 * REAL + 3 * worst_dollars())
    assert [body for _, body in Ledger(tmp_path).bodies()] == ["<html>"] * 3
    server.reply = chat_answer
    found, tally = asked(config_of(), tmp_path, requests_of(3))
    assert isinstance(found["q1"], Answer) and tally.sent == 1


def test_what_is_cut_off_is_not_asked_the_same_way_again(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    server.reply = lambda body: chat_answer(body, reason="length")
    found, tally = asked(config_of(), tmp_path, requests_of(2))
    assert {result.outcome for result in found.values() if isinstance(result, Unanswered)} == {
        Outcome.truncated
    }
    assert tally.sent == 2 and tally.charge.dollars == pytest.approx(2 * REAL)


@pytest.mark.parametrize(
    ("replies", "same"),
    [
        ([(500, {}, b""), (429, {}, b"")], [True, True]),
        ([b"<html>1", b'{"half', b"<html>2"], [True, True, True]),
        ([b"<html>", b"<html>"], [True, False]),
        ([b'{"result": 1}', b'{"error": 1}'], [False, False]),
    ],
)
def test_a_repeated_request_names_itself_unless_the_server_would_repeat_garbage(
    replies: list[Any],
    same: list[bool],
    server: PaidServer,
    config_of: Callable[..., EndpointConfig],
    tmp_path: Path,
) -> None:
    waiting = iter(replies)
    server.reply = lambda body: next(waiting, None) or chat_answer(body)
    asked(config_of(), tmp_path, requests_of(1))
    names = [headers["idempotency-key"] for headers in server.headers]
    assert [one == other for one, other in pairwise(names)] == same


# The budget


def test_the_cap_stops_it_and_more_goes_on_from_there(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    """As many are sent as fit with their worst; nothing of it is asked again with a higher cap."""
    budget, count = 10 * REAL + worst_dollars() - 1e-9, 20
    with pytest.raises(BudgetExhausted, match="is used up: .* every answer is kept") as caught:
        asked(config_of(budget={"dollars": budget}), tmp_path, requests_of(count))
    assert caught.value.exit_code == 4
    assert str(caught.value).endswith("and run it again to go on from here"), "it has no key here"
    assert sum(server.billed.values()) == 10
    found, tally = asked(config_of(budget={"dollars": 1}), tmp_path, requests_of(count))
    assert len(found) == count and (tally.cached, tally.sent) == (10, 10)
    assert set(server.received.values()) == {1}


def test_what_nobody_knows_of_counts_as_spent(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    server.pause = 0.5
    config = config_of(
        budget={"dollars": 2.5 * worst_dollars()},
        patience={"request_seconds": 0.1, "retries": 5},
    )
    with pytest.raises(BudgetExhausted):
        asked(config, tmp_path, requests_of(1))
    assert len(server.bodies) == 2


def test_where_a_budget_ends_the_key_to_raise_is_named(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    """0 is a cap as any other: nothing may be spent."""
    config = config_of(budget={"dollars": 0})
    with (
        PaidCalls(config, Ledger(tmp_path), ME, "judge.endpoint") as calls,
        pytest.raises(BudgetExhausted) as caught,
    ):
        list(calls.ask(requests_of(1)))
    assert "the budget of $0.00 does not reach for a single call" in str(caught.value)
    resume = f"`sparring resume {ME.run} --set judge.endpoint.budget.dollars=…`"
    assert str(caught.value).endswith(f"nothing is spent: raise it with {resume}")
    assert not server.bodies


def test_what_was_cut_off_is_paid_once(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    """No other attempt would make it whole; a higher limit is another request."""
    server.reply = lambda body: chat_answer(body, "Tea is", reason="length")
    first, _ = asked(config_of(), tmp_path, requests_of(3))
    again, tally = asked(config_of(), tmp_path, requests_of(3))
    assert set(server.received.values()) == {1} and (tally.cached, tally.sent) == (3, 0)
    for found in (first, again):
        assert {one.outcome for one in found.values()} == {Outcome.truncated}
    assert {one.text for one in again.values()} == {"Tea is"}


def test_tokens_have_a_cap_too(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    with pytest.raises(BudgetExhausted, match="500 tokens is used up"):
        asked(config_of(budget={"dollars": 9, "tokens": 500}), tmp_path, requests_of(99))
    assert Ledger(tmp_path).spent("work-1").tokens <= 500


def test_a_wrong_key_is_one_request(
    server: PaidServer,
    config_of: Callable[..., EndpointConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_API_KEY", "sk-canary")
    server.reply = lambda _: (401, {}, b"bad key sk-canary")
    config = config_of(api_key="TEST_API_KEY", concurrency=1)
    with pytest.raises(ConfigError, match="does not accept the key"):
        asked(config, tmp_path, requests_of(9))
    assert len(server.bodies) == 1 and Ledger(tmp_path).spent("work-1") == Charge()
    assert not [path for path in tmp_path.rglob("*") if b"sk-canary" in path.read_bytes()]


def test_an_unknown_model_is_one_request(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    server.reply = lambda _: (404, {}, b'{"error": {"code": "model_not_found"}}')
    with pytest.raises(ConfigError, match="no such model or address: 404 .*model_not_found"):
        asked(config_of(concurrency=1), tmp_path, requests_of(9))
    assert len(server.bodies) == 1 and Ledger(tmp_path).spent("work-1") == Charge()


def test_a_prompt_over_the_models_context_is_left_out_alone(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    """Refused once, never sent again in this run, free; all others are answered."""
    too_long = b'{"error": {"code": "context_length_exceeded", "message": "8,193 tokens"}}'
    server.reply = lambda body: (
        (400, {}, too_long) if said(body) == "prompt 3" else chat_answer(body)
    )
    found, tally = asked(config_of(), tmp_path, requests_of(9))
    left = {name: one for name, one in found.items() if isinstance(one, Unanswered)}
    assert set(left) == {"q3"} and left["q3"].outcome is Outcome.refused
    assert "context_length_exceeded" in left["q3"].problem
    assert set(server.received.values()) == {1} and tally.charge.dollars == pytest.approx(8 * REAL)


def test_a_server_that_is_down_stops_the_work(
    config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    patience = {"breaker_failures": 5, "breaker_seconds": 0.01, "breaker_probes": 2}
    config = config_of(url="http://127.0.0.1:9/v1", patience=patience)
    with pytest.raises(StageError, match="given up after 2 probes"):
        asked(config, tmp_path, requests_of(50))
    assert Ledger(tmp_path).spent("work-1") == Charge()


def test_who_stops_listening_loses_no_answer(
    server: PaidServer, config_of: Callable[..., EndpointConfig], tmp_path: Path
) -> None:
    """What is in flight when the caller goes away is settled all the same."""
    server.pause = 0.1
    with PaidCalls(config_of(concurrency=4), Ledger(tmp_path), ME) as calls:
        for _ in calls.ask(requests_of(50)):
            break
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "paid-call"])
    ledger = Ledger(tmp_path)
    assert all(entry.outcome is Outcome.answered for entry in ledger.entries())
    assert len(list(ledger.entries())) == sum(server.received.values()) < 50
