"""A run stops at its budget, saved, says so at 80 %, and goes on once it is raised."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from flows.configs.recurring import RunBudget
from flows.runs import budget as budget_module
from flows.runs.budget import within_budget
from flows.runs.cost import budget_sentences
from flows.runs.runner import resume_flow
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.wishes import OverBudgetError, Wish
from tasks.settings.errors import BudgetExhausted, ConfigError
from tasks.stages.runs.context import LoggingSink, RunContext, StageRecord, record_to_json
from tasks.stages.runs.run_store import claim_run, load_run, run_folder, save_run, save_status
from tasks.stages.runs.usage import read_usage
from tasks.storage.home import Home
from tasks.storage.journal import append_record
from tasks.storage.sealed import write_sealed
from tasks.tracking.remote.folder import FolderRemote
from tests.flows.command import SMALL


class Notes(LoggingSink):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, title: str, text: str) -> None:
        self.said.append(f"{title}: {text}")


class Capped(NamedTuple):
    """A flow's configuration."""

    budget: RunBudget


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr(budget_module, "_LOOK_SECONDS", 0.01)
    run_id = claim_run(home, "apo", None, "", "seed: 0\n").id
    return RunContext(home, run_id, progress=Notes())


def used(run: RunContext, hours: float, gpu_hours: float = 0.0) -> None:
    """Let earlier attempts have used so much."""
    values = {"hours": hours, "gpu_hours": gpu_hours}
    write_sealed(run_folder(run.home, run.run_id) / "usage.json", values)


def test_at_the_cap_of_hours_it_is_interrupted_and_more_goes_on(run: RunContext) -> None:
    """0.001 hours are 3.6 seconds; all but a hundredth of them are used already."""
    used(run, 0.00099)
    budget = RunBudget(hours=0.001)
    saved = []
    with (
        pytest.raises(BudgetExhausted, match=rf"resume {run.run_id} --set budget.hours=…` with"),
        within_budget(run, Capped(budget), None),
    ):
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            saved.append(True)
            raise
    assert saved, "the work is interrupted as by Ctrl-C, and can save"
    with (
        pytest.raises(BudgetExhausted, match="of 0.001 hours are used"),
        within_budget(run, Capped(budget), None),
    ):
        pytest.fail("nothing is begun with a budget that is used up")
    with within_budget(run, Capped(RunBudget(hours=1)), None):
        before = read_usage(run.home, run.run_id).hours
    assert 0.001 <= before <= read_usage(run.home, run.run_id).hours < 1


def test_a_cap_of_0_lets_nothing_be_used(run: RunContext) -> None:
    """A run that holds no GPU may have a cap of 0 hours of them; it works in any case."""
    with within_budget(run, Capped(RunBudget(gpu_hours=0)), None):
        time.sleep(0.05)  # a few looks
    with (
        pytest.raises(BudgetExhausted, match="no hours: nothing may be used of them; what is"),
        within_budget(run, Capped(RunBudget(hours=0)), None),
    ):
        pytest.fail("nothing is begun")


def test_hours_of_a_lost_machine_count(run: RunContext, tmp_path: Path) -> None:
    """Another machine, with a disk of its own, goes on with the run and with its count."""
    run.remote = FolderRemote(tmp_path / "remote")
    used(run, 0.5)
    with within_budget(run, Capped(RunBudget(hours=2)), None):
        pass
    claim = Home(tmp_path / "other").ensure()
    save_run(claim, load_run(run.home, run.run_id))
    other = RunContext(claim, run.run_id, progress=Notes(), remote=run.remote)
    with (
        pytest.raises(BudgetExhausted, match="0.5 of 0.5 hours"),
        within_budget(other, Capped(RunBudget(hours=0.5)), None),
    ):
        pytest.fail("nothing is begun with a budget that is used up")


def test_it_is_said_once_from_80_percent_on(run: RunContext) -> None:
    used(run, 0.9, 7.0)
    budget = RunBudget(hours=1, gpu_hours=100)
    with within_budget(run, Capped(budget), None):
        time.sleep(0.05)  # a few looks
    assert run.progress.said == ["budget: 0.9 of 1 hours are used, 90 % of the budget"]  # type: ignore[attr-defined]
    more = Capped(RunBudget(hours=1, gpu_hours=7))
    first, second = budget_sentences(run.home, run.run_id, more)
    assert first.startswith("0.9 of 1 hours") and second.startswith("7 of 7 GPU hours")


def test_gpus_count_each_and_while_they_are_held(run: RunContext) -> None:
    """Two GPUs since an hour ago are two hours; the budget of one stops it before it begins."""
    plain = record_to_json(StageRecord("update_policy", "v1", "k", "running", gpus=2))
    began = {"event": "started", **plain, "time": "2026-01-01T00:00:00+00:00"}
    with (
        pytest.raises(BudgetExhausted, match="GPU hours are used"),
        within_budget(run, Capped(RunBudget(gpu_hours=1)), None),
    ):
        append_record(Path(run_folder(run.home, run.run_id)) / "stages.journal", began)
        time.sleep(60)


def test_the_cap_of_a_run_holds_beside_those_of_its_endpoints(run: RunContext) -> None:
    ledger = Ledger(run.home.ledger)
    with within_budget(run, Capped(RunBudget(dollars=1.0)), None):
        for work in ("gold", "judge"):
            account = Account(run.run_id, "stage", work)
            ledger.reserve(Wish(work, account, "m", Charge(0.45, 10), Budget(dollars=5)))
        with pytest.raises(OverBudgetError) as caught:
            ledger.reserve(Wish("k", account, "m", Charge(0.45, 10), Budget(dollars=5)))
    assert caught.value.is_run and caught.value.spent == pytest.approx((0.9, 20))
    other = Account("another run", "stage", "gold")
    ledger.reserve(Wish("k", other, "m", Charge(0.45, 10), Budget(dollars=5)))
    with within_budget(run, Capped(RunBudget()), None):
        ledger.reserve(Wish("k", account, "m", Charge(0.45, 10), Budget(dollars=5)))


def test_only_budgets_are_replaced_when_a_run_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.read_text("utf-8")
    name = claim_run(home, "apo", None, "", text).id
    save_status(home, name, "failed")
    taken = []
    monkeypatch.setattr("flows.runs.runner.run_flow", lambda *a, **named: taken.append(a[1]))
    with pytest.raises(ConfigError, match="but for its budgets"):
        resume_flow(name, Console(), ["seed=3"])
    resume_flow(name, Console(), ["budget.hours=4"])
    assert taken[0].budget == RunBudget(hours=4)
