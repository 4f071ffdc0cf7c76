"""Turns: a period once, one tick at a time, and what was killed is taken over."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.schedule.period_claims import Skipped, Trained, Turn, Turns, safe_name
from tasks.processes.identity import current_process
from tasks.storage.home import Home
from tasks.tracking.remote.folder import FolderRemote


@pytest.fixture
def turns(home: Home) -> Turns:
    return Turns(FolderRemote(home.root), "apo/nightly", lambda turn: False)


def kill_owner(home: Home, turn: Turn) -> None:
    """Make a turn look as if its process had died."""
    owner = replace(current_process(), started=1).to_json()
    name = f"ticks/apo-nightly/turns/{turn.number:06d}.json"
    path = home.root / name
    path.unlink()
    turns = Turns(FolderRemote(home.root), "apo/nightly", lambda turn: False)
    turns._put(f"turns/{turn.number:06d}.json", {**asdict(turn), "owner": owner})


def fire(root: Path, number: int, answers: multiprocessing.SimpleQueue) -> None:
    """Fire one tick in a process of its own."""
    turns = Turns(FolderRemote(root), "apo/nightly", lambda turn: False)
    try:
        turn = turns.take("20261101T030000Z", f"flow-run-{number}", wait=None)
    except Skipped as reason:
        answers.put(("skipped", str(reason)))
        return
    time.sleep(0.5)
    turns.end(turn, "completed", "run apo-1 trained to its end")
    answers.put(("ran", ""))


def test_the_same_tick_fired_ten_times_at_once_runs_once(home: Home) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    fired = [context.Process(target=fire, args=(home.root, n, answers)) for n in range(10)]
    for process in fired:
        process.start()
    told = [answers.get() for _ in fired]
    for process in fired:
        process.join()
    assert sorted(what for what, _ in told) == ["ran"] + 9 * ["skipped"]
    assert all("20261101T030000Z is" in why for what, why in told if what == "skipped")


def test_a_period_that_is_done_stays_done(turns: Turns) -> None:
    turn = turns.take("p1", "f1", wait=None)
    turns.end(turn, "nothing new", "nothing new since apo-1")
    with pytest.raises(Skipped, match="p1 is done already: nothing new since apo-1"):
        turns.take("p1", "f2", wait=None)
    assert turns.take("p2", "f2", wait=None).number == 2


def test_a_tick_does_not_overlap_the_one_before(turns: Turns) -> None:
    turns.take("p1", "f1", wait=None)
    with pytest.raises(Skipped, match="the tick p1 is still at work in process"):
        turns.take("p2", "f2", wait=None)


def test_with_catch_up_it_waits_for_the_one_before(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = turns.take("p1", "f1", wait=None)
    monkeypatch.setattr(
        "flows.schedule.period_claims.time.sleep", lambda seconds: turns.end(first, "failed", "x")
    )
    said: list[str] = []
    assert turns.take("p2", "f2", wait=said.append).number == 2
    assert len(said) == 1 and "waiting for the tick p1" in said[0]


def test_a_failed_period_may_be_run_again(turns: Turns) -> None:
    turn = turns.take("p1", "f1", wait=None)
    turns.keep_resolution("p1", {"seed": 1})
    turns.keep_run("p1", "apo-1")
    turns.end(turn, "failed", "StageError: no")
    again = turns.take("p1", "f1", wait=None)
    assert again.number == 2
    assert turns.resolution("p1") == {"seed": 1} and turns.run_of("p1") == "apo-1"
    turns.keep_resolution("p1", {"seed": 2})
    assert turns.resolution("p1") == {"seed": 1}, "the first to say so is right"


def test_the_turn_of_a_dead_process_is_taken_over(home: Home, turns: Turns) -> None:
    turn = turns.take("p1", "f1", wait=None)
    kill_owner(home, turn)
    assert turns.period_of("f1") == "p1"
    assert turns.take("p1", "f1", wait=None).number == 2


def test_a_turn_elsewhere_is_over_when_prefect_says_so(home: Home) -> None:
    far = {**current_process().to_json(), "boot": "another machine"}
    gone: list[bool] = [False]
    turns = Turns(FolderRemote(home.root), "apo/nightly", lambda turn: gone[0])
    turn = Turn(1, "p1", "f1", far, "")
    turns._put("turns/000001.json", asdict(turn))
    with pytest.raises(Skipped):
        turns.take("p2", "f2", wait=None)
    gone[0] = True
    assert turns.take("p2", "f2", wait=None).number == 2


def test_the_newest_that_trained_is_remembered_through_those_that_did_not(turns: Turns) -> None:
    trained = Trained("apo-1", "basis", {"policy": None}, {"policy": "update_policy/x"}, 1)
    first = turns.take("p1", "f1", wait=None)
    assert turns.last_trained(first) is None
    turns.end(first, "completed", "ran", trained)
    for number, state in enumerate(("nothing new", "failed", "skipped"), start=2):
        turn = turns.take(f"p{number}", f"f{number}", wait=None)
        assert turns.last_trained(turn) == trained
        turns.end(turn, state, "…")
    assert turns.last_trained(turns.take("p9", "f9", wait=None)) == trained


def test_names_of_deployments_become_names_of_folders() -> None:
    assert safe_name("apo/nightly") == "apo-nightly"
    odd = [safe_name(name) for name in ("apo/a b", "apo/a-b", "apo/../b", "apo/ä")]
    assert len(set(odd)) == 4
    assert all(name.isascii() and "/" not in name and "." not in name for name in odd)
