"""The flow `ava` end to end, through the command line: both pipelines to one report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.runs.aliases import CANDIDATE, current_alias
from tests.databases import Databases
from tests.flows.command import Shell, sets
from tests.flows.judging import PROMPTS, judged_copy

SMALL = Path(__file__).parent / "configs" / "ava-small.yaml"
WIDE = ("ava", "-c", str(SMALL))
"""With every kind of arm, and PPO."""
RUN = (
    *WIDE,
    *sets(
        "arms=[{objective: [ava_p, bradley_terry]}, {objective: [ava_p, sft], pipeline: direct}]",
        "ppo=null",
    ),
)


@pytest.fixture(scope="module")
def done(
    prefect_server: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """A folder in which reward models and policies have run to the report, two arms at a time."""
    served = {"PREFECT_API_URL": prefect_server}
    shell = Shell(tmp_path_factory.mktemp("ava"), variables=served)
    databases.copy("mlflow", shell.folder / "mlruns")
    shell("run", *RUN)
    return shell


def made(shell: Shell, stage: str) -> dict[str, Manifest]:
    return {one.label: one for one in list_manifests(shell.home, stage)}


def tables_of(shell: Shell) -> Any:
    """Return the tables of the newest report."""
    one = list_manifests(shell.home, "write_ava_report")[-1]
    report = json.loads((one.folder(shell.home) / "report.json").read_text(encoding="utf-8"))
    return report["tables"]


def test_reward_models_and_policies_end_in_one_report(done: Shell) -> None:
    tables = tables_of(done)
    assert set(tables) == {
        "summary", "accuracies", "table-2", "table-4", "proxies", "token-rewards",
        "token-beginnings",
    }  # fmt: skip
    rows = [row[0] for row in tables["accuracies"]["rows"]]
    assert rows == ["AVA-p", "Bradley-Terry", "always the longer answer"]
    (one,) = list_manifests(done.home, "write_ava_report")
    folder = one.folder(done.home)
    for name in ("report.html", "heat-map-ava-p-s0.html"):
        page = (folder / name).read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and "<script" not in page
        assert "the prompt's end: " in page
    lines = (folder / "reward-hacking.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[1:3]] == [
        ["BoN w/ AVA-p", "1"], ["BoN w/ AVA-p", "2"],
    ]  # fmt: skip


@pytest.mark.slow
def test_every_table_of_the_paper_is_there(done: Shell, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "wider", symlinks=True)
    wider = Shell(tmp_path / "wider")
    wider("run", *WIDE)
    tables = tables_of(wider)
    assert set(tables) == {
        "summary", "accuracies", "table-2", "table-3", "table-4", "table-5", "proxies",
        "token-rewards", "token-beginnings",
    }  # fmt: skip
    assert [row[0] for row in tables["accuracies"]["rows"]] == [
        "AVA-p", "Bradley-Terry", "Pref-Trans", "AVA-p w/o rwt", "AVA-p w/o ptq",
        "always the longer answer",
    ]  # fmt: skip
    assert {row[1] for row in tables["table-2"]["rows"]} == {
        "start", "BoN w/ Bradley-Terry", "BoN w/ Pref-Trans",
    }  # fmt: skip


def test_what_the_report_prints_is_accepted_behind_the_run(done: Shell) -> None:
    names = [row[0] for row in tables_of(done)["summary"]["rows"]]
    for name in names:
        shown = json.loads(done("show", f"latest/{name}", "--json").stdout)
        assert shown["provenance"]["produces"], name


def test_one_training_serves_both_pipelines(done: Shell) -> None:
    """AVA-p on the same pairs is a reward model and a policy; so nothing is trained twice."""
    trained = made(done, "update_tqr")
    assert [label for label in trained if label == "AVA-p s0"] == ["AVA-p s0"]
    digests = {one.digest for one in trained.values()}
    assert len(digests) == len(trained)


def test_again_everything_is_done(done: Shell) -> None:
    assert {one["state"] for one in done.json("plan", *RUN)} == {"done"}


def test_the_best_policy_is_offered_and_the_gate_judges_it(done: Shell) -> None:
    record = current_alias(done.home, "ava", CANDIDATE)
    assert record is not None and set(record.models) == {"policy", "reward_model"}
    refused = done("promote", "--flow", "ava", "--set", "gate.min_win_rate=0.99", code=3)
    assert "win rate" in refused.stdout + refused.stderr


def test_a_judge_is_asked_about_those_who_meet_in_the_papers_tables(
    done: Shell, tmp_path: Path
) -> None:
    copy, matches = judged_copy(done, tmp_path / "judged", *RUN)
    assert set(matches) == {
        "BoN w/ AVA-p s0 vs start",
        "BoN w/ AVA-p s0 vs BoN w/ Bradley-Terry s0",
        "AVA-p s0 vs SFT s0",
        "chosen vs rejected",
    }
    assert {one.metrics["asked"] for one in matches.values()} == {PROMPTS}
    assert [row[0] for row in tables_of(copy)["judge"]["rows"]] == list(matches)
