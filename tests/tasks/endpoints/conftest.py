"""A server that bills, and quick settings to ask it by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.endpoints.paid_tally import Tally
from tests.servers.paid_server import COMPLETION_TOKENS, PROMPT_TOKENS, PaidServer

QUICK = {"request_seconds": 0.5, "first_pause": 0.01, "longest_pause": 0.05, "retries": 10}


def endpoint(server: PaidServer, **settings: Any) -> EndpointConfig:
    """Return the configuration of a server of a test; nothing in it waits for long."""
    patience = {**QUICK, **settings.pop("patience", {})}
    known: dict[str, Any] = {
        "url": server.url,
        "model": "m",
        "price": {"prompt": 10, "completion": 20},
        "budget": {"dollars": 100},
        "patience": patience,
    }
    return EndpointConfig(**{**known, **settings})


@pytest.fixture
def server() -> Iterator[PaidServer]:
    with PaidServer(hang=0.7) as running:
        yield running


@pytest.fixture
def config_of(server: PaidServer) -> Callable[..., EndpointConfig]:
    return lambda **settings: endpoint(server, **settings)


ME = Account("run-1", "collect_gold", "work-1")
REAL = PROMPT_TOKENS * 10e-6 + COMPLETION_TOKENS * 20e-6
"""Dollars of one answer, by the prices of `endpoint`."""


def requests_of(count: int, **more: Any) -> list[ChatRequest]:
    return [
        ChatRequest(f"q{number}", (("user", f"prompt {number}"),), 16, **more)
        for number in range(count)
    ]


def worst_dollars() -> float:
    prompt, completion = requests_of(1)[0].worst_tokens()
    return prompt * 10e-6 + completion * 20e-6


Asked = tuple[dict[str, Answer | Unanswered], Tally]


def asked(
    config: EndpointConfig, folder: Path, requests: list[ChatRequest], account: Account = ME
) -> Asked:
    ledger = Ledger(folder)
    with PaidCalls(config, ledger, account) as calls:
        found = {request.id: result for request, result in calls.ask(requests)}
        return found, calls.tally


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
