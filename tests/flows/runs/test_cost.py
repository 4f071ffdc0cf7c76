"""`sparring cost` and `gold estimate`: what the ledger says, by run, stage and model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.wishes import Wish
from tasks.stages.runs.context import StageRecord, record_to_json
from tasks.stages.runs.run_journal import journal_file
from tasks.stages.runs.run_store import claim_run
from tasks.storage.home import current_home
from tasks.storage.journal import append_record


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def spend(run_id: str, model: str, outcome: Outcome | None, charge: Charge) -> None:
    ledger = Ledger(current_home().ledger)
    account = Account(run_id, "collect_gold", f"work of {run_id}")
    key = f"{run_id}-{model}-{len(list(ledger.entries()))}"
    identity = ledger.reserve(Wish(key, account, model, Charge(0.5, 500), Budget()))
    assert isinstance(identity, str)
    if outcome is not None:
        answer = Answer("a", "stop", 9, 1) if outcome is Outcome.answered else None
        ledger.settle(identity, outcome, charge, answer)


def test_nothing_was_paid() -> None:
    assert "no paid server was asked by any run here" in run("cost")


def test_by_run_stage_and_model() -> None:
    """Run `one`: 0.1 for an answer, 0.3 for a lost call and 0.5 for one that a kill cut off."""
    spend("one", "big", Outcome.answered, Charge(0.1, 100))
    spend("one", "big", Outcome.timeout, Charge(0.3, 300))
    spend("one", "big", None, Charge())
    spend("one", "small", Outcome.html, Charge(0.0, 10))
    spend("two", "big", Outcome.answered, Charge(2, 7))
    told = json.loads(run("cost", "--json"))
    paid = {"dollars": pytest.approx(2.9), "tokens": 917}
    assert told["total"] == {**paid, "hours": 0, "gpu_hours": 0}
    big, small, two = told["lines"]
    assert (big["run"], big["stage"], big["model"]) == ("one", "collect_gold", "big")
    assert (big["requests"], big["answered"], big["tokens"]) == (3, 1, 900)
    assert big["outcomes"] == {"answered": 1, "timeout": 1, "unknown": 1}
    assert big["unknown"] == {"dollars": pytest.approx(0.8), "tokens": 800}
    assert (small["requests"], small["answered"], two["dollars"]) == (1, 0, 2)
    page = run("cost")
    assert "$0.90" in page and "$2.90 and 917 tokens in all" in page


def test_an_unknown_run_is_named() -> None:
    run("cost", "nobody", code=2)


def test_one_run_alone() -> None:
    home = current_home().ensure()
    ours = claim_run(home, "apo", None, "", "seed: 0\n").id
    spend(ours, "big", Outcome.answered, Charge(0.1, 100))
    spend("another", "big", Outcome.answered, Charge(7, 7))
    told = json.loads(run("cost", "latest", "--json"))
    assert told["run"] == ours and [line["dollars"] for line in told["lines"]] == [0.1]


def test_by_epoch_and_method() -> None:
    """Two stages of an epoch are one part; what is paid outside of epochs has its stage's name."""
    home = current_home().ensure()
    ours = claim_run(home, "apo", None, "", "seed: 0\n").id
    epoch = {"chapter": "epoch 1 of DPO", "gpus": 2}
    for stage, label, seconds, more in (
        ("sample_responses", "v1", 1800.0, epoch),
        ("update_policy", "DPO-v1", 3600.0, epoch),
        ("judge_responses", "DPO-v1", 360.0, {}),
        ("write_apo_report", "", 36.0, {}),
    ):
        record = StageRecord(stage, label, f"key of {stage}", "completed", 1, seconds, **more)
        event = {"event": "finished", **record_to_json(record), "time": "2026-01-01T00:00:00+00:00"}
        append_record(journal_file(home, ours), event)
    for call in ("key of judge_responses", "key of a stage that was cut off"):
        account = Account(ours, "judge_responses", "work", call)
        Ledger(home.ledger).reserve(Wish(call, account, "big", Charge(0.5, 500), Budget()))
    told = json.loads(run("cost", "latest", "--json"))
    fields = ("hours", "gpu_hours", "dollars")
    parts = {part["name"]: tuple(part[name] for name in fields) for part in told["parts"]}
    assert parts == {
        "epoch 1 of DPO": (1.5, 3.0, 0),
        "judge_responses · DPO-v1": (0.1, 0, 0.5),
        "write_apo_report": (0.01, 0, 0),
        "unfinished": (0, 0, 0.5),
    }
    page = run("cost", "latest")
    assert "1 h 30 min" in page and "3 h 00 min" in page and "6 min 00 s" in page and "36 s" in page
