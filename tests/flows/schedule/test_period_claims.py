"""A period is worked on once, one at a time, and what was killed is taken over."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.schedule.period_claims import (
    LastCompleted,
    PeriodClaim,
    PeriodClaims,
    Skipped,
    safe_name,
)
from tasks.processes.identity import current_process
from tasks.storage.home import Home
from tasks.tracking.remote.folder import FolderRemote


@pytest.fixture
def claims(home: Home) -> PeriodClaims:
    return PeriodClaims(FolderRemote(home.root), "apo/nightly", lambda claim: False)


def kill_owner(home: Home, claim: PeriodClaim) -> None:
    """Make a claim look as if its process had died."""
    owner = replace(current_process(), started=1).to_json()
    name = f"scheduled/apo-nightly/claims/{claim.number:06d}.json"
    path = home.root / name
    path.unlink()
    claims = PeriodClaims(FolderRemote(home.root), "apo/nightly", lambda claim: False)
    claims._put(f"claims/{claim.number:06d}.json", {**asdict(claim), "owner": owner})


def fire(root: Path, number: int, answers: multiprocessing.SimpleQueue) -> None:
    """Claim a period in a process of its own."""
    claims = PeriodClaims(FolderRemote(root), "apo/nightly", lambda claim: False)
    try:
        claim = claims.take("20261101T030000Z", f"flow-run-{number}", wait=None)
    except Skipped as reason:
        answers.put(("skipped", str(reason)))
        return
    time.sleep(0.5)
    claims.end(claim, "completed", "run apo-1 trained to its end")
    answers.put(("ran", ""))


def test_the_same_period_begun_ten_times_at_once_runs_once(home: Home) -> None:
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


def test_a_period_that_is_done_stays_done(claims: PeriodClaims) -> None:
    claim = claims.take("p1", "f1", wait=None)
    claims.end(claim, "nothing new", "nothing new since apo-1")
    with pytest.raises(Skipped, match="p1 is done already: nothing new since apo-1"):
        claims.take("p1", "f2", wait=None)
    assert claims.take("p2", "f2", wait=None).number == 2


def test_a_run_does_not_overlap_the_one_before(claims: PeriodClaims) -> None:
    claims.take("p1", "f1", wait=None)
    with pytest.raises(Skipped, match="the scheduled run p1 is still at work in process"):
        claims.take("p2", "f2", wait=None)


def test_with_catch_up_it_waits_for_the_one_before(
    claims: PeriodClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = claims.take("p1", "f1", wait=None)
    monkeypatch.setattr(
        "flows.schedule.period_claims.time.sleep", lambda seconds: claims.end(first, "failed", "x")
    )
    said: list[str] = []
    assert claims.take("p2", "f2", wait=said.append).number == 2
    assert len(said) == 1 and "waits for the scheduled run p1" in said[0]


def test_a_failed_period_may_be_run_again(claims: PeriodClaims) -> None:
    claim = claims.take("p1", "f1", wait=None)
    claims.keep_resolution("p1", {"seed": 1})
    claims.keep_run("p1", "apo-1")
    claims.end(claim, "failed", "StageError: no")
    again = claims.take("p1", "f1", wait=None)
    assert again.number == 2
    assert claims.resolution("p1") == {"seed": 1} and claims.run_of("p1") == "apo-1"
    claims.keep_resolution("p1", {"seed": 2})
    assert claims.resolution("p1") == {"seed": 1}, "the first to say so is right"


def test_the_claim_of_a_dead_process_is_taken_over(home: Home, claims: PeriodClaims) -> None:
    claim = claims.take("p1", "f1", wait=None)
    kill_owner(home, claim)
    assert claims.period_of("f1") == "p1"
    assert claims.take("p1", "f1", wait=None).number == 2


def test_a_claim_elsewhere_is_over_when_prefect_says_so(home: Home) -> None:
    far = {**current_process().to_json(), "boot": "another machine"}
    gone: list[bool] = [False]
    claims = PeriodClaims(FolderRemote(home.root), "apo/nightly", lambda claim: gone[0])
    claim = PeriodClaim(1, "p1", "f1", far, "")
    claims._put("claims/000001.json", asdict(claim))
    with pytest.raises(Skipped):
        claims.take("p2", "f2", wait=None)
    gone[0] = True
    assert claims.take("p2", "f2", wait=None).number == 2


def test_the_newest_that_trained_is_remembered_through_those_that_did_not(
    claims: PeriodClaims,
) -> None:
    completed = LastCompleted("apo-1", "basis", {"policy": None}, {"policy": "update_policy/x"}, 1)
    first = claims.take("p1", "f1", wait=None)
    assert claims.last_completed(first) is None
    claims.end(first, "completed", "ran", completed)
    for number, state in enumerate(("nothing new", "failed", "skipped"), start=2):
        claim = claims.take(f"p{number}", f"f{number}", wait=None)
        assert claims.last_completed(claim) == completed
        claims.end(claim, state, "…")
    assert claims.last_completed(claims.take("p9", "f9", wait=None)) == completed


def test_names_of_deployments_become_names_of_folders() -> None:
    assert safe_name("apo/nightly") == "apo-nightly"
    odd = [safe_name(name) for name in ("apo/a b", "apo/a-b", "apo/../b", "apo/ä")]
    assert len(set(odd)) == 4
    assert all(name.isascii() and "/" not in name and "." not in name for name in odd)
