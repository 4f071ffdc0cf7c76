"""Runs are found by their ids, by the beginning of one, and as the newest."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.runs.run_journal import stage_ends
from tasks.stages.runs.run_store import UNFINISHED, claim_run, list_runs, load_run, save_status
from tasks.stages.runs.states import JUDGE, PROMOTION, STATES, RunStatus
from tasks.storage.home import Home


def test_unknown_runs(home: Home) -> None:
    with pytest.raises(ConfigError, match="there is no run 'x'"):
        load_run(home, "x")
    with pytest.raises(ConfigError, match="there is no run 'latest' .*: none was begun; `sparring"):
        load_run(home, "latest")
    one, two = (claim_run(home, "toy", None, "", "") for _ in range(2))
    with pytest.raises(ConfigError, match="2 runs begin with 'toy-'"):
        load_run(home, "toy-")
    assert load_run(home, one.id) == one != two
    assert load_run(home, "latest") in (one, two) and len(list_runs(home)) == 2


def test_latest_is_the_last_run_with_results(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a run that failed, nor one at work, nor a promotion takes the name from it."""
    seconds = iter(range(10, 60))
    monkeypatch.setattr(
        "tasks.stages.runs.run_store._now", lambda: f"2026-11-30T06:51:{next(seconds)}+00:00"
    )

    def ended(flow: str, status: RunStatus) -> str:
        run = claim_run(home, flow, None, "", "").id
        save_status(home, run, status)
        return run

    stopped = ended("toy", "interrupted")
    assert load_run(home, "latest").id == stopped, "there is nothing better yet"
    done, failed = ended("toy", "completed"), ended("toy", "failed")
    ended(PROMOTION, "failed"), ended(PROMOTION, "completed"), ended(JUDGE, "completed")
    at_work = ended("toy", "running")
    assert load_run(home, "latest").id == done
    assert load_run(home, "latest", latest=tuple(STATES)).id == at_work
    save_status(home, at_work, "completed")
    assert load_run(home, "latest", latest=UNFINISHED).id == failed
    assert load_run(home, "latest").id == at_work
    judged = ended(JUDGE, "failed")
    assert load_run(home, "latest", latest=UNFINISHED).id == judged, "its budget was used up"
    assert load_run(home, "latest").id == at_work


def event(key: str, state: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {"stage": "train", "label": "", "key": key, "state": state, "seconds": seconds, **more}


def test_the_time_of_all_attempts_at_a_stage_counts() -> None:
    """45.4 s until it was stopped and 15.6 s after it was resumed are 61; another key is new."""
    events = [
        event("a", "running", 0.0),
        event("a", "interrupted", 45.4),
        event("a", "running", 0.0),
        event("a", "completed", 15.6),
    ]
    (end,) = stage_ends(events)
    assert end["state"] == "completed" and end["seconds"] == pytest.approx(61.0)
    (end,) = stage_ends([*events, event("a", "cached", 0.1)])
    assert end["state"] == "completed", "a resumed run found done what it had done itself"
    assert stage_ends([*events, event("b", "completed", 2.0)]) == [event("b", "completed", 2.0)]
    assert stage_ends([event("a", "cached", 0.1)])[0]["state"] == "cached"
