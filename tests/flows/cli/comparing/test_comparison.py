"""`sparring compare`: two runs paired per prompt, on real small runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.stages.manifest import list_manifests
from tests.flows.command import SMALL, Shell, sets


@pytest.fixture(scope="module")
def two_runs(
    untouched: Shell, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """The small run, and one with another beta of DPO."""
    folder = tmp_path_factory.mktemp("two") / "copy"
    shutil.copytree(untouched.folder, folder, symlinks=True)
    shell = Shell(folder, variables={"PREFECT_API_URL": prefect_server})
    shell("run", "apo", "-c", str(SMALL), *sets("policy.coefficients.dpo.beta=5.0"))
    return shell


def _runs(shell: Shell) -> list[str]:
    return [run["run"] for run in reversed(shell.json("ls"))]


def test_several_runs_make_one_report(two_runs: Shell) -> None:
    """What both share is there once: from the same start, by the same judges."""
    first, second = _runs(two_runs)
    joined = two_runs.json("report", first, second)
    rows = joined["tables"]["table-2"]["rows"]
    names = [(row[0], row[3]) for row in rows]
    assert [name for number, name in names if number == "2"] == ["DPO-v1", "APO-DPO-v1"]
    assert [name for _, name in names].count("start") == 1
    assert joined["facts"] == {"1": f"{first}, from llama 32x1", "2": f"{second}, from llama 32x1"}
    shown = two_runs("report", first, second, "--out", "joined").stdout
    assert (two_runs.folder / "joined" / "report.html").is_file() and "Table 2" in shown
    assert "is there already" in two_runs.refusal("report", first, second, "--out", "joined")
    assert "are the same run" in two_runs.refusal("report", first, first)
    assert "for the report of several" in two_runs.refusal("report", first, "--out", "other")


def test_the_last_policies_are_paired_under_each_judge(two_runs: Shell) -> None:
    first, second = _runs(two_runs)
    found = two_runs.json("compare", first, second)
    assert (found["first"]["policy"], found["first"]["run"]) == ("APO-DPO-v1", first)
    assert list(found["judges"]) == ["oracle", "RM_All", "RM_Test"]
    evaluations = []
    for side in ("first", "second"):
        folder = two_runs.home.store / "evaluate_policy" / found[side]["evaluation"][:16]
        evaluations.append(json.loads((folder / "evaluation.json").read_text())["per_prompt"])
    ours, theirs = evaluations
    for judge, figures in found["judges"].items():
        gaps = [
            sum(ours[key]["scores"][judge]) / len(ours[key]["scores"][judge])
            - sum(theirs[key]["scores"][judge]) / len(theirs[key]["scores"][judge])
            for key in ours
        ]
        assert figures["difference"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-12)
        assert figures["interval"]["low"] <= figures["difference"] <= figures["interval"]["high"]
        counts = [sum(g > 0 for g in gaps), sum(g == 0 for g in gaps), sum(g < 0 for g in gaps)]
        assert [figures[name] for name in ("wins", "ties", "losses")] == counts
    assert {change["what"] for d in found["differences"] for change in d["changes"]} == {
        "config.coefficients.dpo.beta"
    }
    assert found["judges_that_differ"] == []
    # So small a run's judges know little, and are the same models in both.
    assert found["doubts"] and {said.split(" is not shown to ")[0] for said in found["doubts"]} <= {
        "RM_All",
        "RM_Test",
    }
    assert f"but {found['doubts'][0]}" in two_runs("compare", first, second).stdout
    swapped = two_runs.json("compare", second, first)["judges"]["RM_All"]
    assert swapped["difference"] == pytest.approx(-found["judges"]["RM_All"]["difference"])


def test_prompts_with_both_answers_are_shown(two_runs: Shell) -> None:
    found = two_runs.json("compare", *_runs(two_runs))
    gaps = [one["difference"] for one in found["prompts"]]
    assert 0 < len(gaps) <= 6 and gaps[0] == min(gaps)
    for one in found["prompts"]:
        assert one["prompt"] and one["answers"] == [1, 1] and one["first"] != one["second"]
        gap = one["scores"][0] - one["scores"][1]
        assert abs(gap) >= abs(one["difference"]) and gap * one["difference"] > 0
    shown = two_runs("compare", *_runs(two_runs)).stdout
    assert "won/tied/lost" in shown and "RM_Test" in shown
    assert "config.coefficients.dpo.beta: 0.1 → 5.0" in shown


def test_a_policy_may_be_named_and_evaluations_too(two_runs: Shell) -> None:
    first, second = _runs(two_runs)
    found = two_runs.json("compare", first, second, "--policy", "start")
    assert found["first"] | {"run": ""} == found["second"] | {"run": ""}
    assert {figures["difference"] for figures in found["judges"].values()} == {0.0}
    by_key = {one.label: one for one in list_manifests(two_runs.home, "evaluate_policy")}
    keys = [by_key[label].key[:12] for label in ("golden-SFT", "start")]
    assert two_runs.json("compare", *keys)["first"]["policy"] == "golden-SFT"
    policy = by_key["golden-SFT"].inputs["policy"].key[:12]
    assert two_runs.json("compare", policy, keys[1])["first"]["policy"] == "golden-SFT"
    refusal = two_runs.refusal("compare", first, second, "--policy", "DPO-v9")
    assert "no policy 'DPO-v9'" in refusal and "it evaluated start, chosen" in refusal
    sft = by_key["start"].inputs["policy"].key[:12]
    assert "evaluations are of it" not in two_runs("compare", sft, keys[1]).stdout


def test_other_prompts_are_refused(two_runs: Shell, tmp_path: Path) -> None:
    first, second = _runs(two_runs)
    shutil.copytree(two_runs.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy")
    key = shell.json("compare", first, second)["second"]["evaluation"]
    path = shell.home.store / "evaluate_policy" / key[:16] / "evaluation.json"
    values = json.loads(path.read_text())
    values["per_prompt"] = dict(list(values["per_prompt"].items())[:20])
    path.chmod(0o644)
    path.write_text(json.dumps(values))
    refusal = shell.refusal("compare", first, second)
    assert "measured on 24 prompts and APO-DPO-v1 on 20, 20 of them the same" in refusal
    path.unlink()
    assert f"is not on this machine; `sparring pull {key[:12]}`" in shell.refusal(
        "compare", first, second
    )


@pytest.mark.slow
def test_the_refusal_names_the_setting_that_differs(two_runs: Shell) -> None:
    first = _runs(two_runs)[0]
    two_runs("run", "apo", "-c", str(SMALL), *sets("evaluation.max_queries=20"))
    assert "max_queries: None → 20" in two_runs.refusal("compare", first, "latest")


def test_why_names_the_first_difference(two_runs: Shell) -> None:
    first, second = _runs(two_runs)[:2]
    lines = two_runs("why", first, second).stdout.splitlines()
    assert lines[0].startswith("first: update_policy · DPO-v1  ")
    assert lines[1].strip() == "config.coefficients.dpo.beta: 0.1 → 5.0"
    answer = two_runs.json("why", first, second)
    assert {cause["title"] for cause in answer["causes"]} == {
        "update_policy · DPO-v1",
        "update_policy · APO-DPO-v1",
    }
    assert not answer["equal"]
    reports = [one.key for one in list_manifests(two_runs.home, "write_apo_report")][:2]
    (cause, *_) = two_runs.json("why", *reports)["causes"]
    assert cause["title"] == "update_policy · DPO-v1" and cause["path"][-1] == "policy"
    assert "both are write_apo_report" in two_runs("why", reports[0], reports[0]).stdout
    assert "give two runs or two artifacts" in two_runs.refusal("why", first, reports[0])
