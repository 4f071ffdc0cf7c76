"""The ledger: nothing that was paid is forgotten, whatever happens to its file or its writers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks
from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.ledger import LEDGER_FILE, Ledger
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.wishes import OverBudgetError, Wish
from tasks.storage.errors import CorruptError
from tasks.storage.journal import append_record

ROOT = Path(tasks.__file__).parents[1]
NO_CAP = Budget()
ME = Account("run-1", "collect_gold", "work-1")
YES = Answer("yes", "stop", 3, 1, None, "m-1")
WORST, REAL = Charge(0.5, 50), Charge(0.1, 10)
IN_FOLDER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def reserved(ledger: Ledger, key: str, budget: Budget = NO_CAP, account: Account = ME) -> str:
    identity = ledger.reserve(Wish(key, account, "m", WORST, budget))
    assert isinstance(identity, str)
    return identity


def filled(folder: Path) -> Ledger:
    """A ledger with an answer, a failure that cost nothing, and a call that nobody knows of."""
    ledger = Ledger(folder)
    ledger.settle(reserved(ledger, "a"), Outcome.answered, REAL, YES)
    ledger.settle(reserved(ledger, "b"), Outcome.html, Charge(), body="<html>\ud800")
    reserved(ledger, "c")
    return ledger


def test_what_is_known_after_opening_again(tmp_path: Path) -> None:
    """0.1 for the answer, nothing for the failure, 0.5 for the unknown outcome."""
    filled(tmp_path)
    ledger = Ledger(tmp_path)
    assert ledger.answer("a") == YES
    assert ledger.answers(["a", "b", "c"]) == {"a": YES}
    assert ledger.spent("work-1") == pytest.approx((0.6, 60))
    assert ledger.spent("work-2") == Charge()
    outcomes = {entry.key: entry.outcome for entry in ledger.entries()}
    assert outcomes == {"a": Outcome.answered, "b": Outcome.html, "c": None}
    assert [(entry.key, body) for entry, body in ledger.bodies()] == [("b", "<html>?")]


def test_an_answer_is_anybodys_and_no_failure_is_kept(tmp_path: Path) -> None:
    ledger, other = filled(tmp_path), Account("run-2", "judge", "work-2")
    assert ledger.reserve(Wish("a", other, "m", WORST, Budget(dollars=0))) == YES
    assert isinstance(ledger.reserve(Wish("b", other, "m", WORST, NO_CAP)), str)
    assert ledger.spent("work-2") == WORST


def test_the_budget_counts_what_is_open_at_its_worst(tmp_path: Path) -> None:
    ledger, budget = Ledger(tmp_path), Budget(dollars=1.2)
    first = reserved(ledger, "a", budget)
    reserved(ledger, "b", budget)
    with pytest.raises(OverBudgetError) as caught:
        ledger.reserve(Wish("c", ME, "m", WORST, budget))
    assert caught.value.spent == pytest.approx((1.0, 100))
    ledger.settle(first, Outcome.answered, REAL, YES)
    reserved(ledger, "c", budget)
    assert ledger.spent("work-1") == pytest.approx((1.1, 110))
    with pytest.raises(OverBudgetError):
        ledger.reserve(Wish("d", ME, "m", WORST, Budget(tokens=150)))


def test_two_that_have_it_open_see_each_other(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path), Ledger(tmp_path)
    identity = reserved(one, "a")
    assert two.spent("work-1") == WORST
    with pytest.raises(OverBudgetError):
        two.reserve(Wish("b", ME, "m", WORST, Budget(dollars=0.9)))
    one.settle(identity, Outcome.answered, REAL, YES)
    assert two.answer("a") == YES


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return filled(tmp_path_factory.mktemp("whole")).path.read_bytes()


def test_torn_anywhere_loses_the_torn_record_alone(tmp_path: Path, whole: bytes) -> None:
    """Cut at every byte: what stands before is known, and what was open counts at its worst."""
    ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        (tmp_path / LEDGER_FILE).write_bytes(whole[:length])
        ledger = Ledger(tmp_path)
        # A record is whole when only its newline is missing.
        records = sum(end <= length for end in ends)
        spent = [0.0, 0.5, 0.1, 0.6, 0.1, 0.6][records]
        assert ledger.spent("work-1").dollars == pytest.approx(spent), length
        assert (ledger.answer("a") is not None) == (records >= 2)
        if length % 16:
            continue
        # And it goes on from there.
        reserved(ledger, "d")
        assert Ledger(tmp_path).spent("work-1").dollars == pytest.approx(spent + 0.5)


def test_a_flipped_bit_is_named_or_tears_the_end(tmp_path: Path, whole: bytes) -> None:
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        (tmp_path / LEDGER_FILE).write_bytes(bytes(damaged))
        try:
            ledger = Ledger(tmp_path)
        except CorruptError as error:
            assert LEDGER_FILE in str(error) or "the journal" in str(error)
            continue
        # Only the last newline can go unnoticed: the record before it is torn off then.
        assert place == len(whole) - 1, place
        assert ledger.answer("a") == YES


@IN_FOLDER
@given(data=st.data())
def test_any_damage_is_named_or_forgets_no_settled_answer(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    """Bytes replaced anywhere before the last record, by any others."""
    last = whole[:-1].rindex(b"\n") + 1
    start = data.draw(st.integers(0, last - 1))
    end = data.draw(st.integers(start + 1, last))
    junk = data.draw(st.binary(max_size=20).filter(lambda some: some != whole[start:end]))
    (tmp_path / LEDGER_FILE).write_bytes(whole[:start] + junk + whole[end:])
    try:
        ledger = Ledger(tmp_path)
    except CorruptError:
        return
    # Whole records may be missing, as if they had never been written; none says anything else.
    assert ledger.answer("a") in (None, YES)


def test_a_record_of_another_kind_is_named(tmp_path: Path) -> None:
    append_record(tmp_path / LEDGER_FILE, {"settled": "nobody", "dollars": 0, "tokens": 0})
    with pytest.raises(CorruptError, match="none of a ledger"):
        Ledger(tmp_path)


SPENDER = """
import sys
from pathlib import Path
from tasks.endpoints.answers import Outcome
from tasks.endpoints.accounts import Account
from tasks.endpoints.wishes import OverBudgetError, Wish
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.wishes import OverBudgetError, Wish

ledger, count = Ledger(Path(sys.argv[1])), 0
try:
    for number in range(1000):
        key = f"{sys.argv[2]}-{number}"
        wish = Wish(key, Account(work="w"), "m", Charge(0, 10), Budget(tokens=600))
        identity = ledger.reserve(wish)
        ledger.settle(identity, Outcome.timeout, Charge(0, 5))
        count += 1
except OverBudgetError:
    print(count)
"""


def test_processes_and_threads_share_one_budget(tmp_path: Path) -> None:
    """600 tokens: calls of 5 that reserve 10 fit until more than 590 are spent, 119 in all."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    ledger = Ledger(tmp_path)
    budget, made = Budget(tokens=600), []

    def spend(name: int) -> None:
        for number in range(10):
            key = f"thread-{name}-{number}"
            identity = ledger.reserve(Wish(key, Account(work="w"), "m", Charge(0, 10), budget))
            assert isinstance(identity, str)
            ledger.settle(identity, Outcome.timeout, Charge(0, 5))
            made.append(key)

    threads = [threading.Thread(target=spend, args=[name]) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [int(child.communicate(timeout=60)[0]) for child in children]
    spent = Ledger(tmp_path).spent("w").tokens
    assert 590 < spent <= 600
    assert spent == 5 * (sum(counts) + len(made))
