"""Every verb of the command line, by its effect."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from flows.configs.apo import ApoConfig
from tasks.settings.loading import load_config, validate
from tasks.stages.manifest import manifest_path
from tasks.storage.sealed import read_sealed, write_sealed
from tests.flows.command import SMALL, Shell, sets, wait_until

RUN = ("run", "apo", "-c", str(SMALL))


def test_run_dry_prints_the_resolved_config_and_leaves_nothing(fresh: Shell) -> None:
    done = fresh(*RUN, "--dry-run", *sets("policy.method=rrhf", "seed=7"))
    (fresh.folder / "resolved.yaml").write_text(done.stdout)
    resolved = validate(ApoConfig, load_config(fresh.folder / "resolved.yaml"), "resolved")
    assert (resolved.policy.method, resolved.seed) == ("rrhf", 7)
    assert [path.name for path in fresh.folder.iterdir()] == ["resolved.yaml"]


def test_run_shows_a_line_per_stage_and_the_report(finished: Shell) -> None:
    shown = (finished.folder / "output.txt").read_text(encoding="utf-8")
    assert "✓ prepare_data  completed" in shown
    assert "= sample_responses · APO-DPO-v1 queries  cached" in shown
    assert "report.html" in shown
    assert "\x1b[" not in shown, "colours where there is no terminal"


def test_plan_of_a_new_folder_makes_nothing_but_data(fresh: Shell) -> None:
    stages = fresh.json("plan", *RUN[1:])
    assert stages[0]["stage"] == "prepare_data" and stages[0]["state"] == "to run"
    assert {stage["state"] for stage in stages[1:]} == {"waiting"}
    assert {path.name for path in fresh.home.root.glob("*")} <= {"digests.json"}
    shown = fresh("plan", *RUN[1:]).stdout
    assert "never ran here" in shown and f"0 stages done, {len(stages)} to run" in shown


def test_plan_folds_what_waits_into_a_line_for_each_epoch(fresh: Shell) -> None:
    stages = fresh.json("plan", *RUN[1:])
    epochs = {stage["chapter"] for stage in stages}
    assert epochs == {"", "epoch 1 of DPO", "epoch 1 of APO-DPO"}
    folded = fresh("plan", *RUN[1:]).stdout.splitlines()
    for epoch in epochs - {""}:
        count = sum(stage["chapter"] == epoch for stage in stages)
        assert sum(f"{epoch}, {count} stages" in line for line in folded) == 1
    assert len(folded) == 8, "headings, what can begin, before, two epochs, after, and the sum"
    unfolded = fresh("plan", *RUN[1:], "--all").stdout.splitlines()
    assert len(unfolded) == len(stages) + 3
    assert any("update_policy · APO-DPO-v1" in line for line in unfolded)


def test_plan_of_a_finished_run_has_nothing_to_do(finished: Shell) -> None:
    stages = finished.json("plan", *RUN[1:])
    assert {stage["state"] for stage in stages} == {"done"}
    assert f"{len(stages)} stages done, 0 to run" in finished("plan", *RUN[1:]).stdout


def test_plan_names_the_changed_key(finished: Shell) -> None:
    stages = finished.json("plan", *RUN[1:], *sets("policy.training.weight_decay=0.5"))
    by_label = {stage["label"]: stage for stage in stages if stage["stage"] == "update_policy"}
    assert by_label["SFT"]["state"] == "done"
    assert by_label["DPO-v1"]["reason"] == "config.training.weight_decay: 0.0 → 0.5"
    # The reference pass does not depend on how the policy is trained.
    passes = [stage for stage in stages if stage["stage"] == "compute_reference_logps"]
    assert "done" in {stage["state"] for stage in passes if stage["label"] == "DPO-v1"}


def test_status_tells_how_each_stage_ended(finished: Shell) -> None:
    status = finished.json("status")
    assert status["run"]["status"] == "completed"
    assert {stage["state"] for stage in status["stages"]} == {"completed", "cached"}
    assert "is completed" in finished("status").stdout


def test_ls_lists_runs_artifacts_flows_and_configs(finished: Shell) -> None:
    assert {run["status"] for run in finished.json("ls")} == {"completed"}
    artifacts = finished.json("ls", "artifacts")
    assert {one["key"] for one in artifacts} == {
        name.split("/")[1][:12] for name in finished.finished_keys()
    }
    assert [flow["flow"] for flow in finished.json("ls", "flows")] == ["apo", "exo", "ava"]
    assert "apo-tiny.yaml" in {config["config"] for config in finished.json("ls", "configs")}
    shown = {"runs": "completed", "artifacts": "prepare_data", "flows": "apo", "configs": "hh-cpu"}
    for what, expected in shown.items():
        assert expected in finished("ls", what).stdout


def test_show_an_artifact_by_key_or_digest_and_a_run(finished: Shell) -> None:
    name, digest = next(iter(sorted(finished.finished_keys().items())))
    stage, key = name.split("/")
    found = finished.json("show", key[:16])
    assert (found["key"], found["stage"], found["digest"]) == (key, stage, digest)
    assert finished.json("show", found["key"])["files"] == found["files"]
    assert digest in finished("show", key[:16]).stdout
    run = finished.json("ls")[0]["run"]
    assert finished.json("show", run)["config"]["model"]["vocabulary"] == 320
    assert "vocabulary: 320" in finished("show", "latest").stdout


def test_report_prints_the_report_of_a_run(finished: Shell) -> None:
    tables = finished.json("report")
    assert tables
    shown = finished("report", "latest").stdout
    path = Path(shown.strip().splitlines()[-1].removeprefix("report: "))
    assert path.is_file()
    written = (path.parent / "report.md").read_text(encoding="utf-8")
    assert written[: written.index("## Examples")] in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown), "models write anything"


def test_who_only_looks_writes_nothing(finished: Shell) -> None:
    def files() -> dict[str, int]:
        paths = (path for path in finished.folder.rglob("*") if path.is_file())
        caches = ("digests.json", "verified")
        return {
            str(one): one.stat().st_mtime_ns
            for one in paths
            if one.name not in caches and one.parent.name not in caches
        }

    before = files()
    two = ("latest/DPO-v1", "latest/APO-DPO-v1")
    for words in (
        ("status",), ("ls",), ("ls", "artifacts"), ("show", "latest/RM_Test"), ("report",),
        ("lineage", *two[:1]), ("why", *two), ("compare", *two), ("plan", *RUN[1:]),
        (*RUN, "--dry-run"), ("doctor",),
    ):  # fmt: skip
        finished(*words)
        assert files() == before, words


def test_libraries_are_quiet_before_any_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect prints a notice of its telemetry when it is first imported; `demote` did that."""
    seen: list[str | None] = []
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(main, "app", lambda: seen.append(os.environ.get("DO_NOT_TRACK")))
    main.main()
    assert seen == ["1"]


def test_doctor_finds_the_store_whole_then_damaged(copy: Shell) -> None:
    found = {one["subject"]: one for one in copy.json("doctor")}
    assert found["store"]["ok"] and found["runs"]["ok"] and found["libraries"]["ok"]
    assert f"{len(copy.finished_keys())} artifacts" in found["store"]["detail"]
    report = next(copy.home.store.glob("write_apo_report/*/report.md"))
    report.chmod(0o644)
    report.write_text("shorter")
    found = {one["subject"]: one for one in copy.json("doctor")}
    assert not found["store"]["ok"] and "damaged" in found["store"]["detail"]
    assert "damaged" in copy("doctor").stdout


def test_doctor_makes_no_store(fresh: Shell) -> None:
    assert "nothing at" in fresh("doctor").stdout
    assert not fresh.home.root.exists()


def test_doctor_of_data_counts_and_finds_the_overlap(finished: Shell) -> None:
    data = finished.folder / "data/playground"
    planted = finished.folder / "planted.jsonl"
    first = (data / "test.jsonl").read_text().splitlines()[0]
    planted.write_text(first + "\n" + first + "\n")
    words = ["doctor", "--data", str(data / "test.jsonl"), "--data", str(planted)]
    report = finished.json(*words)
    assert json.dumps(report).count("planted.jsonl") > 0
    shown = finished(*words).stdout
    assert "shared first turns" in shown and "24" in shown
    policy = next(finished.home.store.glob("update_policy/*/config.json")).parent
    tokens = [*words, "--tokenizer", str(policy), "--max-response-tokens", "4"]
    assert finished(*tokens).stdout != shown


@pytest.mark.slow
def test_resume_runs_only_what_is_missing(copy: Shell) -> None:
    before = copy.finished_keys()
    report = copy.events()[-1]
    manifest_path(copy.home, report["stage"], report["key"]).unlink()
    run = copy.json("ls")[-1]["run"]
    # The gold that the run was begun with was another one.
    path = copy.home.runs / run / "inputs.json"
    now = read_sealed(path)
    gold = "data/playground/golden.jsonl"
    write_sealed(path, {**now, gold: "0" * 32, "gone.jsonl": "1" * 32})
    shown = copy("resume", run).stdout
    assert shown.startswith(f"{gold} has changed since this run began"), "before anything runs"
    assert "gone.jsonl left the inputs" in shown and read_sealed(path) == now
    assert "✓ write_apo_report  completed" in shown and "✓ prepare_data" not in shown
    assert f"run {run}:" in shown
    assert copy.finished_keys() == before
    assert copy.json("status", run)["run"]["status"] == "completed"


EARLY = """
import builtins, os, signal
load = builtins.__import__
def loading(name, *rest):
    if name == "tasks.processes.termination":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest)
builtins.__import__ = loading
from flows.cli.__main__ import entry
entry()
"""
"""The command, interrupted while it loads the first module of ours."""


def test_an_interrupt_at_the_very_beginning_is_one_sentence() -> None:
    ended = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "sparring: stopped\n")


# The quick representative presses Ctrl-C on a terminal, in test_interrupt.py.
@pytest.mark.slow
def test_interrupt_saves_the_state_and_ends_with_130(fresh: Shell) -> None:
    process = fresh.start(*RUN)
    wait_until(lambda: any(event["event"] == "finished" for event in fresh.events()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    run = fresh.json("status")["run"]
    assert run["status"] == "interrupted"
    assert err == (
        f"sparring: stopped; all that is done is kept, `sparring resume {run['id']}` goes on from "
        "here\n"
    )
    assert "go on with it: sparring resume" in fresh("status").stdout
    assert fresh.finished_keys(), "what was finished is kept"
    plan = fresh.json("plan", *RUN[1:])
    assert plan[0]["state"] == "done"
    assert "has no report yet; `sparring resume" in fresh.refusal("report")


def test_a_damaged_report_is_named(copy: Shell) -> None:
    """Where no other copy is there either, the stage must run again."""
    (table,) = copy.home.store.glob("write_apo_report/*/reward-by-kl.csv")
    table.write_bytes(table.read_bytes()[:-1])
    said = copy.refusal("report")
    assert "needs write_apo_report again: its output is damaged: reward-by-kl.csv" in said
    assert "`sparring resume" in said and "no report yet" not in said


@pytest.mark.parametrize("verb", ["status", "report", "resume"])
def test_a_verb_without_any_run_says_so(fresh: Shell, verb: str) -> None:
    assert "there is no run 'latest'" in fresh.refusal(verb, "latest")
