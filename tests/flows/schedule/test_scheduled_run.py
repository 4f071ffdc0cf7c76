"""Scheduled runs of a deployed flow: a real Prefect server, a real worker, data that grows."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psutil
import pytest
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Paused

from flows.configs.recurring import RecurringConfig, RunBudget, ScheduleConfig
from flows.schedule import scheduled_run
from tasks.settings.errors import StageError
from tasks.stages.retention.candidates import find_candidates
from tasks.stages.retention.roots import Policy
from tasks.stages.retention.sweep import carry_out
from tasks.stages.retention.yardsticks import TickRow, TrendRecords
from tasks.stages.runs.aliases import alias_history, current_alias
from tasks.stages.runs.references import referenced_artifact
from tasks.stages.runs.run_store import config_file, list_runs, load_run
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json
from tests.flows.command import wait_until
from tests.flows.schedule.test_notification import listening
from tests.flows.scheduling import RECURRING, deployed_flow, grow

THREE = datetime(2026, 11, 1, 3, tzinfo=UTC)
"""An instant of the schedule."""


@pytest.mark.slow
def test_the_first_run_trains_the_second_has_nothing_new_the_third_goes_on_from_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with deployed_flow(tmp_path) as deployed:
        home = deployed.shell.home
        # Fired ten times at once, the first period runs once.
        fired = [deployed.fire(THREE) for _ in range(10)]
        names = deployed.wait(*fired)
        assert sorted(names) == ["Completed"] + 9 * ["Skipped"], names
        said = {deployed.state(one)["message"] for one in fired} - {None}
        assert any("20261101T030000Z" in text for text in said)
        (first,) = list_runs(home)
        candidate = current_alias(home, "apo", "candidate")
        assert candidate and candidate.run == first.id and first.status == "completed"

        deployed.sparring("promote")
        champion = current_alias(home, "apo", "champion")
        assert champion and champion.models == candidate.models

        second = deployed.fire(THREE + timedelta(days=1))
        assert deployed.wait(second) == ["NothingNew"]
        assert f"nothing new since {first.id}" in deployed.state(second)["message"]
        assert len(apo_runs(home)) == 1

        grow(tmp_path, 120)
        third = deployed.fire(THREE + timedelta(days=2))
        assert deployed.wait(third) == ["Completed"]
        newest, _ = apo_runs(home)
        config = config_file(home, newest).read_text()
        for role in ("policy", "reward_model"):
            assert f"{role}: {champion.models[role]}" in config
        assert "data/pairs.jsonl: " in config, "the data's revision is in the run's config"
        stages = deployed.shell.json("status", newest)["stages"]
        assert not [one for one in stages if one["stage"] == "initialise_policy"]
        assert deployed.wait(deployed.fire(THREE)) == ["Skipped"], "its period was done long ago"
        # The new candidate meets the champion on its own test prompts, and wins or does not.
        deployed.sparring("promote")
        assert [one.run for one in alias_history(home, "apo", "champion")] == [first.id, newest]
        deployed.sparring("demote")
        now = current_alias(home, "apo", "champion")
        assert now and (now.number, now.run, now.restores) == (3, first.id, 1)


@pytest.mark.slow
def test_five_weeks_are_compared_and_the_gate_is_asked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        deployed_flow(tmp_path) as deployed,
        temporary_settings({PREFECT_API_URL: deployed.url}),
        contextmanager(listening)() as told,
    ):
        home = deployed.shell.home
        config = tmp_path / "weeks.yaml"
        words = "promote: gate, policy: champion"
        text = RECURRING.read_text().replace("policy: champion", words, 1)
        text += "  yardstick: true\n"
        text += "notify: {block: custom-webhook/here, falling_times: 1}\n"
        config.write_text(text)
        deployed.deploy(config)
        records = TrendRecords(home, "apo-recurring")
        for week in range(5):
            grow(tmp_path, 90 + 6 * week)
            if week == 4:
                win_more(home, records.rows()[-1])
            assert deployed.wait(deployed.fire(THREE + timedelta(days=week))) == ["Completed"]
            deployed.sparring("gc", "--yes", "--keep-runs", "1", "--trash-days", "0")
            (series,) = records.series()
            hasty = Policy(keep_runs=1, trash_days=0.0, grace_seconds=0.0)
            carry_out(find_candidates(home, None, hasty)[0], dry_run=False)
            for reference in (series.champion, *series.basis.values()):
                assert referenced_artifact(home, reference, "pin", said_by="it").path.is_dir()
        rows = records.rows()
        assert [row.run for row in rows] == sorted(apo_runs(home))
        assert len(rows) == 5 and {row.series for row in rows} == {1}
        (pins,) = {tuple(sorted(row.pins.items())) for row in rows}
        assert all(reference for _, reference in pins)
        for row in rows:
            assert {"win_rate", "accuracy", "ece", "kl", "length", "hours"} <= set(row.metrics)
            assert row.gate in ("promoted", "refused")
        decided = [one for one in told if "is the champion" in one["title"]]
        decided += [one for one in told if "refused by the gate" in one["title"]]
        assert len(decided) == 5, "promotion was asked at the end of each"
        falls = [one for one in told if "fell 1 times in a row" in one["title"]]
        assert any("1.100 → " in str(one) for one in falls), "the planted fall of the fifth week"
        (shown,) = deployed.shell.json("trend", "apo")
        assert [one["run"] for one in shown["ticks"]] == [row.run for row in rows]
        assert rows[-1].run in deployed.sparring("trend")
        page = home.runs / rows[-1].run / "trend" / "trend.html"
        assert all(row.run in page.read_text() for row in rows)
        logged = list((tmp_path / "mlruns").rglob("trend.html"))
        assert len(logged) == 5, "each run has the page in MLflow"


def win_more(home: Home, row: TickRow) -> None:
    """Let a run have won more than any can."""
    values = asdict(replace(row, metrics={**row.metrics, "win_rate": 1.1}))
    path = home.root / "trend/apo-recurring/ticks" / f"{row.run}.json"
    write_atomic(path, sealed_json(values).encode())


@pytest.mark.slow
def test_a_killed_run_is_resumed_by_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with deployed_flow(tmp_path) as deployed:
        home = deployed.shell.home
        flow_run = deployed.fire(THREE)
        wait_until(lambda: finished(home) >= 6)
        (run,) = list_runs(home)
        psutil.Process(run.owner["pid"]).send_signal(signal.SIGKILL)
        assert deployed.wait(flow_run) == ["Crashed"]
        assert load_run(home, run.id).status == "crashed"
        before = finished(home)
        # Prefect's worker reports the same death once more half a minute later, whatever the
        # state is by then.
        time.sleep(40)
        deployed.retry(flow_run)
        assert deployed.wait(flow_run) == ["Completed"]
        (same,) = list_runs(home)
        assert (same.id, same.status) == (run.id, "completed")
        events = deployed.shell.events()
        cached = [e for e in events if e["event"] == "finished" and e["state"] == "cached"]
        assert len(cached) >= before, "what was finished is skipped"
        assert deployed.wait(deployed.fire(THREE)) == ["Skipped"]
        assert not (tmp_path / "stray.txt").exists()


def apo_runs(home: Home) -> list[str]:
    return [run.id for run in list_runs(home) if run.flow == "apo"]


def finished(home: Home) -> int:
    return len(list(home.manifests.glob("*/*.json"))) if home.manifests.is_dir() else 0


def flow_run(day: int) -> Any:
    """Prefect's flow run of a period, as far as a scheduled run looks at it."""
    due = datetime(2026, 11, day, 3, tzinfo=UTC)
    return SimpleNamespace(id=uuid4(), expected_start_time=due, deployment_id=uuid4())


def test_a_period_that_failed_is_resumed_and_one_that_is_done_or_brings_nothing_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decisions of a scheduled run alone: no server, and a flow that only says it ran."""
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    monkeypatch.setattr(scheduled_run, "deployment_name", lambda flow_run: "nightly")
    config = RecurringConfig(schedule=ScheduleConfig(cron="0 3 * * *", catch_up="all"))
    more = config.model_copy(update={"budget": RunBudget(hours=4)})
    resumed: list[str | None] = []
    hours: list[float | None] = []

    @contextmanager
    def opened(config: Any, resume: str | None) -> Iterator[Any]:
        resumed.append(resume)
        hours.append(config.budget.hours)
        yield SimpleNamespace(run_id="apo-1", offer=None)

    def fails(run: Any, config: Any) -> Any:
        raise StageError("the disk is full")

    def run(one: Any, work: Any, config: RecurringConfig = config) -> Any:
        return scheduled_run.run_scheduled("apo", config, one, opened, work)

    first = flow_run(1)
    with pytest.raises(StageError, match="the disk is full"):
        run(first, fails)
    assert run(first, lambda run, config: "its result", more) == "its result"
    assert resumed == [None, "apo-1"], "it goes on with the run that failed"
    assert hours == [None, 4], "by the budget that is deployed now"
    again, next_day = run(flow_run(1), fails), run(flow_run(2), fails)
    assert again.name == "Skipped" and "is done already" in again.message
    assert next_day.name == "NothingNew" and "nothing new since apo-1" in next_day.message
    assert len(resumed) == 2


def test_the_next_run_of_a_schedule_goes_on_with_the_one_that_waits_for_people_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    monkeypatch.setattr(scheduled_run, "deployment_name", lambda flow_run: "nightly")
    monkeypatch.setattr(scheduled_run, "nothing_new", lambda found, last: "")
    config = RecurringConfig(schedule=ScheduleConfig(cron="0 3 * * *", catch_up="all"))
    opened_with: list[str | None] = []

    @contextmanager
    def opened(config: Any, resume: str | None) -> Iterator[Any]:
        opened_with.append(resume)
        yield SimpleNamespace(run_id=resume or f"apo-{len(opened_with)}", offer=None)

    def waits(run: Any, config: Any) -> Any:
        raise Pause(state=Paused(name="Waiting"))

    def run(day: int, work: Any) -> Any:
        return scheduled_run.run_scheduled("apo", config, flow_run(day), opened, work)

    for day in (1, 2):
        with pytest.raises(Pause):
            run(day, waits)
    assert opened_with == [None, "apo-1"], "the second looked at the first's period"
    assert run(3, lambda run, config: run.run_id) == "apo-4"
    assert opened_with[2:] == ["apo-1", None], "first what waited, then its own period"
    assert run(1, waits).name == "Skipped"
