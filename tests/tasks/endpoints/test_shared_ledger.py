"""One ledger for several machines: what was paid outlives each, budgets and limits hold for all.

A machine is a home of its own; what they have in common is a remote: a folder, or a real S3 server.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tasks
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.chat_request import ChatRequest
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.endpoints.paid_tally import Tally
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.shared_log import FOLDER
from tasks.endpoints.wishes import OverBudgetError, Wish
from tasks.settings.errors import BudgetExhausted
from tasks.storage.errors import CorruptError
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.remote.opening import open_remote
from tests.servers.paid_server import PaidServer
from tests.tasks.endpoints.conftest import ME, REAL, endpoint, requests_of, wait_for

ROOT = Path(tasks.__file__).parents[1]
WORST, NO_CAP = Charge(0.5, 50), Budget()
YES = Answer("yes", "stop", 3, 1, None, "m-1")


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "remote")


def wish(key: str, budget: Budget = NO_CAP, worst: Charge = WORST) -> Wish:
    return Wish(key, ME, "m", worst, budget)


def reserved(ledger: Ledger, key: str) -> str:
    identity = ledger.reserve(wish(key))
    assert isinstance(identity, str)
    return identity


def asked(
    config: EndpointConfig, ledger: Ledger, requests: list[ChatRequest]
) -> tuple[set[str], Tally]:
    with PaidCalls(config, ledger, ME) as calls:
        found = {one.id for one, answer in calls.ask(requests) if isinstance(answer, Answer)}
        return found, calls.tally


def test_another_machine_asks_only_what_is_missing(
    tmp_path: Path, remote: FolderRemote, server: PaidServer
) -> None:
    config = endpoint(server)
    asked(config, Ledger(tmp_path / "one", remote), requests_of(10))
    found, tally = asked(config, Ledger(tmp_path / "two", remote), requests_of(15))
    assert len(found) == 15 and (tally.cached, tally.sent) == (10, 5)
    assert set(server.received.values()) == {1}
    one, two = Ledger(tmp_path / "one", remote), Ledger(tmp_path / "two", remote)
    assert one.spent("work-1") == two.spent("work-1") == pytest.approx((15 * REAL, 450))
    assert [entry.id for entry in one.entries()] == [entry.id for entry in two.entries()]


def test_no_request_leaves_whose_intent_is_not_on_the_remote(
    tmp_path: Path, remote: FolderRemote, server: PaidServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt is on the remote before the server has it; where that refuses, nothing is sent."""
    seen: list[bool] = []

    def reply(body: dict[str, Any]) -> Any:
        seen.append(bool(Ledger(tmp_path / "looks", remote).spent("work-1").tokens))
        return b"{}"

    server.reply = reply
    asked(
        endpoint(server, patience={"retries": 0}), Ledger(tmp_path / "one", remote), requests_of(3)
    )
    assert seen == [True] * 3

    def refuse(name: str, data: bytes) -> bool:
        raise RemoteError("the remote is away")

    monkeypatch.setattr(remote, "put_if_absent", refuse)
    with pytest.raises(RemoteError, match="is away"):
        asked(endpoint(server), Ledger(tmp_path / "one", remote), requests_of(9))
    assert sum(server.received.values()) == 3


def test_threads_that_wait_are_written_together(tmp_path: Path, remote: FolderRemote) -> None:
    ledger = Ledger(tmp_path / "one", remote)
    with ThreadPoolExecutor(8) as threads:
        with ledger._mutex:
            made = [threads.submit(reserved, ledger, f"k{number}") for number in range(8)]
            wait_for(lambda: len(ledger._waiting) == 8)
        assert len({one.result() for one in made}) == 8
    assert len(remote.names(FOLDER)) == 1


def test_what_was_bought_before_there_was_a_remote_is_shared(
    tmp_path: Path, remote: FolderRemote
) -> None:
    alone = Ledger(tmp_path / "one")
    alone.settle(reserved(alone, "a"), Outcome.answered, Charge(0.1, 10), YES)
    reserved(alone, "b")
    ledger = Ledger(tmp_path / "one", remote)
    reserved(ledger, "c")
    other = Ledger(tmp_path / "two", remote)
    assert other.answer("a") == YES and other.spent("work-1") == pytest.approx((1.1, 110))
    ledger.share()
    assert len(remote.names(FOLDER)) == 1, "nothing is written twice"


def test_a_batch_that_is_missing_or_damaged_is_named(tmp_path: Path, remote: FolderRemote) -> None:
    ledger = Ledger(tmp_path / "one", remote)
    for key in "abc":
        reserved(ledger, key)
    second = remote.root / FOLDER / "0000000002.json"
    data = second.read_bytes()
    second.write_bytes(data.replace(b'"b"', b'"x"'))
    with pytest.raises(CorruptError, match="0000000002"):
        Ledger(tmp_path / "two", remote)
    second.unlink()
    with pytest.raises(CorruptError, match="0000000002.json of the ledger is missing"):
        Ledger(tmp_path / "two", remote)
    assert Ledger(tmp_path / "one", remote).spent("work-1").tokens == 150, "its own copy is whole"


def spend(folder: Path, remote: Any, name: str, budget: Budget, failures: list[Exception]) -> int:
    """Reserve 10 tokens and settle 5 until the budget refuses; return how often it went."""
    ledger, made = Ledger(folder, remote), 0
    while True:
        try:
            identity = ledger.reserve(wish(f"{name}-{made}", budget, Charge(0, 10)))
        except OverBudgetError:
            return made
        except Exception as error:
            failures.append(error)
            return made
        assert isinstance(identity, str)
        ledger.settle(identity, Outcome.timeout, Charge(0, 5))
        made += 1


def test_machines_share_one_budget(tmp_path: Path, remote: FolderRemote) -> None:
    """300 tokens: calls of 5 that reserve 10 fit until more than 290 are spent."""
    budget, failures = Budget(tokens=300), list[Exception]()
    with ThreadPoolExecutor(3) as threads:
        made = [
            threads.submit(spend, tmp_path / f"host-{n}", remote, f"{n}", budget, failures)
            for n in range(3)
        ]
        counts = [one.result() for one in made]
    assert not failures
    for number in range(3):
        Ledger(tmp_path / f"host-{number}", remote).share()
    spent = Ledger(tmp_path / "looks", remote).spent("work-1").tokens
    # Whoever gave up early did so with the others' open calls at their worst.
    assert spent == 5 * sum(counts) and 270 < spent <= 300


@pytest.mark.parametrize("homes", [1, 2])
def test_limits_per_minute_are_shared(
    tmp_path: Path, remote: FolderRemote, server: PaidServer, homes: int
) -> None:
    """Counted at the server: two processes of a machine, or two machines, that may send 12 a minute
    each send 12 in this minute, not 24.
    """
    config = endpoint(server, requests_per_minute=12, concurrency=4)
    shared = remote if homes == 2 else None
    ledgers = [Ledger(tmp_path / f"host-{n % homes}", shared) for n in range(2)]
    calls = [PaidCalls(config, ledger, ME) for ledger in ledgers]
    waits = threading.Semaphore(0)
    for one in calls:
        real = one._pauses.wait

        def wait(seconds: float, real: Callable[[float], None] = real) -> None:
            if seconds > 1:
                waits.release()
            real(seconds)

        one._pauses.wait = wait  # type: ignore[method-assign]
    threads = [
        threading.Thread(target=lambda one=one, n=n: list(one.ask(requests_of(40, sample=n))))
        for n, one in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for _ in range(8):  # until every worker of both waits for the next minute
        assert waits.acquire(timeout=60)
    for one in calls:
        one.__exit__()
    for thread in threads:
        thread.join()
    assert sum(server.received.values()) == 12


ASKER = """
import sys
from pathlib import Path
from tasks.endpoints.accounts import Account
from tasks.endpoints.chat_request import ChatRequest
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.tracking.remote.opening import open_remote

config = EndpointConfig.model_validate_json(sys.argv[1])
account = Account("run-1", "collect_gold", "work-1")
with PaidCalls(config, Ledger(Path(sys.argv[2]), open_remote()), account) as calls:
    texts = [f"prompt {number}" for number in range(int(sys.argv[3]))]
    found = list(calls.ask(ChatRequest(text, (("user", text),), 16) for text in texts))
"""


def test_a_lost_machine_loses_no_knowledge_of_what_was_paid(
    tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed while it asks, and its disk is gone: another goes on, within the budget."""
    monkeypatch.setenv("SPARRING_REMOTE", f"s3://{s3.bucket()}/paid")
    count, workers = 60, 4
    with PaidServer(0.2, hang=0.6) as running:
        running.pause = 0.02
        config = endpoint(running, concurrency=workers, budget={"dollars": 1})
        command = [sys.executable, "-c", ASKER, config.model_dump_json()]
        lost = subprocess.Popen([*command, str(tmp_path / "lost"), str(count)], cwd=ROOT)
        wait_for(lambda: sum(running.received.values()) > 20)
        lost.kill()
        lost.wait()
        shutil.rmtree(tmp_path / "lost")
        received = running.received.copy()
        ledger = Ledger(tmp_path / "other", open_remote())
        entries = list(ledger.entries())
        assert sum(received.values()) <= len(entries), "no request without its intent"
        assert sum(running.billed.values()) * REAL <= ledger.spent("work-1").dollars
        keys = {request.key("m"): request.messages[-1][1] for request in requests_of(count)}
        known = {keys[key] for key in ledger.answers(list(keys))}
        unknown = {keys[entry.key] for entry in entries if entry.outcome is None}
        print(f"{len(known)} answers known, {len(unknown)} unknown, {len(entries)} requests")
        assert len(known) > 5 and len(unknown) <= 2 * workers, "in flight, or answered just now"
        found, _ = asked(config, ledger, requests_of(count))
        assert len(found) == count
        assert not known & (running.received - received).keys(), "what is known is not sent again"
        spent = Ledger(tmp_path / "third", open_remote()).spent("work-1").dollars
        assert sum(running.billed.values()) * REAL <= spent <= 1
        with pytest.raises(BudgetExhausted):
            asked(
                endpoint(running, budget={"dollars": spent}),
                Ledger(tmp_path / "third", open_remote()),
                requests_of(1, sample=1),
            )
