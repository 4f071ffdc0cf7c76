"""Paid requests through a server that loses, spoils and bills, and under kills: none paid twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tasks
from tasks.endpoints.answers import Answer
from tasks.endpoints.chat_request import ChatRequest
from tasks.endpoints.ledger import Ledger
from tests.servers.paid_server import PaidServer
from tests.tasks.endpoints.conftest import (
    REAL,
    Asked,
    asked,
    endpoint,
    requests_of,
    wait_for,
    worst_dollars,
)

ROOT = Path(tasks.__file__).parents[1]


def faulty(folder: Path, count: int, seconds: float, seed: int = 0, **server: Any) -> Asked:
    """Ask through 30 % of faults with 8 workers; what must always hold is checked here."""
    with PaidServer(0.3, seed, hang=1.5 * seconds, **server) as running:
        budget = count * 2 * worst_dollars()
        config = endpoint(
            running,
            budget={"dollars": budget},
            patience={"request_seconds": seconds, "retries": 20},
        )
        found, tally = asked(config, folder, requests_of(count))
    assert len(found) == count
    for name, result in found.items():
        assert isinstance(result, Answer) and result.text == f"PROMPT {name[1:]}"
    ledger = Ledger(folder)
    billed = sum(running.billed.values()) * REAL
    assert billed <= ledger.spent("work-1").dollars <= budget
    assert sum(tally.outcomes.values()) == tally.sent == sum(running.received.values())
    paid = sum(running.billed.values())
    if running.has_memory:
        # What breaks twice in the same way is taken for the server's own, and paid again.
        assert 0 <= paid - count - running.useless <= 2 + count / 500
    print(f"{tally.sent} requests and {paid} bills for {count} answers")
    return found, tally


def test_500_calls_through_faults(tmp_path: Path) -> None:
    """Sent / needed is about 1 / 0.7, as each fault costs one more request."""
    _, tally = faulty(tmp_path, 500, 0.5)
    assert 1.3 < tally.sent / 500 < 1.6
    assert len(tally.outcomes) >= 8, "faults of every kind came"


def test_a_server_that_remembers_bills_nothing_twice(tmp_path: Path) -> None:
    faulty(tmp_path, 100, 0.3, has_memory=True)


@pytest.mark.slow
@pytest.mark.parametrize("has_memory", [False, True])
def test_10_000_calls_through_faults(tmp_path: Path, has_memory: bool) -> None:
    """With its memory, 1.04 bills an answer: one, and more only for its own useless answers."""
    _, tally = faulty(tmp_path, 10_000, 1.0, has_memory=has_memory)
    assert 1.35 < tally.sent / 10_000 < 1.5


ASKER = """
import sys
from pathlib import Path
from tasks.endpoints.chat_request import ChatRequest
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls

config = EndpointConfig.model_validate_json(sys.argv[1])
with PaidCalls(config, Ledger(Path(sys.argv[2])), Account("r", "s", "work-1")) as calls:
    texts = [f"prompt {number}" for number in range(int(sys.argv[3]))]
    found = list(calls.ask(ChatRequest(text, (("user", text),), 16) for text in texts))
print(len(found), "done")
"""


def killed_often(folder: Path, kills: int, count: int) -> None:
    """Kill the asking at random moments; then let it end, and look at what was sent again."""
    rng, workers = random.Random(0), 8
    prompts = {request.key("m"): said_of(request) for request in requests_of(count)}
    with PaidServer(0.3, hang=0.6) as running:
        running.pause = 0.02
        config = endpoint(running, concurrency=workers, patience={"request_seconds": 0.4})
        command = [sys.executable, "-c", ASKER, config.model_dump_json(), str(folder), str(count)]
        for number in range(kills + 1):
            ledger = Ledger(folder)
            unknown = [entry for entry in ledger.entries() if entry.outcome is None]
            assert len(unknown) <= number * workers, "at most one in flight per worker and kill"
            answered = {prompts[key] for key in ledger.answers(list(prompts))}
            received = Counter(running.received)
            child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            if number < kills:
                kill_at_work(child, running, rng.uniform(0.0, 0.4))
            else:
                assert child.communicate(timeout=500)[0] == f"{count} done\n"
            sent = running.received - received
            assert not answered & sent.keys(), "what is answered is never sent again"
        entries = list(Ledger(folder).entries())
        assert sum(running.received.values()) <= len(entries), "no request without its intent"
        assert sum(running.billed.values()) * REAL <= Ledger(folder).spent("work-1").dollars


def kill_at_work(child: subprocess.Popen[str], running: PaidServer, seconds: float) -> None:
    """Kill so many seconds after its first request, if it is not done by then."""
    before = sum(running.received.values())
    wait_for(lambda: sum(running.received.values()) > before or child.poll() is not None)
    time.sleep(seconds)
    child.kill()
    child.communicate()
    time.sleep(0.1)  # what it sent last may still be on its way


def said_of(request: ChatRequest) -> str:
    return request.messages[-1][1]


def test_killed_twice_nothing_answered_is_asked_again(tmp_path: Path) -> None:
    killed_often(tmp_path, kills=2, count=40)


@pytest.mark.slow
def test_killed_20_times_nothing_answered_is_asked_again(tmp_path: Path) -> None:
    killed_often(tmp_path, kills=20, count=1500)
