"""The journal of a run: what happened to each of its stage calls, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.stages.key import stage_title
from tasks.storage.files import safe_join
from tasks.storage.home import Home
from tasks.storage.journal import sound_records

_log = logging.getLogger("sparring.stages")


def journal_file(home: Home, run_id: str) -> Path:
    """Return the journal of a run."""
    return safe_join(home.runs, run_id) / "stages.journal"


def stage_events(home: Home, run_id: str) -> list[dict[str, Any]]:
    """Return what happened to the stage calls of a run, in order, as far as it can be read.

    Each has `event` (started, finished), `time` and the fields of `StageRecord` but the metrics.
    """
    events, problem = sound_records(journal_file(home, run_id))
    if problem:
        _log.warning("%s", problem)
    return events


def stage_ends(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how each stage call of a run is, from what happened to it: its newest event.

    `seconds` is the time of all its attempts at this key, and what the run itself has completed
    stays completed when a resumed run finds it done.
    """
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        title = f"{event['stage']}/{event['label']}"
        before = found.get(title, {})
        if before.get("key") == event["key"]:
            event = {**event, "seconds": event["seconds"] + before["seconds"]}
            if (before["state"], event["state"]) == ("completed", "cached"):
                event = before
        found[title] = event
    return list(found.values())


def stopped_at(home: Home, run_id: str) -> str:
    """Return where a run was told to stop: its interrupted stages, with what they saved.

    Example: `update_policy · SFT: stopped by SIGINT, state saved at step 12 of 66: resume …`. Empty
    where no stage was at work.
    """
    ends = [one for one in stage_ends(stage_events(home, run_id)) if one["state"] == "interrupted"]
    titles = (stage_title(one["stage"], one["label"]) for one in ends)
    said = (one["error"].partition(": ")[2] or "its finished parts are kept" for one in ends)
    return "; ".join(f"{title}: {why}" for title, why in zip(titles, said, strict=True))


def unfinished_stages(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return the keys of the stages that a run began and did not finish."""
    running = {event["key"]: event["event"] == "started" for event in events}
    return [key for key, is_running in running.items() if is_running]
