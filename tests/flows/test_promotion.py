"""`sparring promote` and `demote`: what the gate sees, what moves, and what is recorded."""

from __future__ import annotations

import json

from tasks.stages.manifest import list_manifests
from tasks.stages.runs.aliases import alias_history, current_alias
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell, sets

LOW = sets("gate.min_win_rate=0.01", "gate.min_judge_accuracy=null")


def test_a_run_that_ends_well_is_the_candidate(finished: Shell) -> None:
    record = alias_history(finished.home, "apo", "candidate")[0]
    first = list_runs(finished.home)[-1]
    assert record.run == first.id and record.config["apo_epochs"] == 1
    made = {f"{one.stage}/{one.key}": one.label for one in list_manifests(finished.home)}
    assert made[record.models["policy"]] == "APO-DPO-v1"
    assert made[record.models["reward_model"]] == "RM_APO-v1"
    assert {"data", "RM_Test", "policy evaluation", "start evaluation"} <= set(record.basis)


def test_the_gate_refuses_with_code_3_and_keeps_the_evidence(served_copy: Shell) -> None:
    done = served_copy("promote", *sets("gate.min_win_rate=0.99", "gate.max_ece=1.0"), code=3)
    assert "the gate refuses for win rate against start, by RM_Test" in done.stderr
    # Of 24 pairs too few are right to be more than chance: nobody is promoted by such a judge.
    assert "accuracy of RM_Test on held-out pairs" in done.stderr
    assert "RM_Test is not shown to judge better than a coin" in done.stdout.replace("\n", " ")
    assert "gate.min_judge_accuracy=null" in done.stdout
    assert "refused" in done.stdout and "holds" in done.stdout and "not asked" in done.stdout
    assert current_alias(served_copy.home, "apo", "champion") is None
    (evidence,) = list_manifests(served_copy.home, "decide_promotion")
    (run, *_) = list_runs(served_copy.home)
    assert f"{run.id} (promotion) is completed: refused;" in served_copy("status", run.id).stdout
    assert evidence.metrics["holds"] == 0.0 and 0 <= evidence.metrics["win_rate"] <= 1
    assert evidence.inputs["candidate"].stage == "evaluate_policy"
    assert "The gate refuses" in (evidence.folder(served_copy.home) / "report.md").read_text()


def test_promote_and_demote(served_copy: Shell) -> None:
    before = served_copy.finished_keys()
    assert "would become" in served_copy("promote", *LOW, "--dry-run").stdout
    assert current_alias(served_copy.home, "apo", "champion") is None
    assert served_copy.json("ls")[0]["outcome"] == "dry run"
    told = json.loads(served_copy("promote", *LOW, "--json").stdout)
    assert told["moved"] and told["figures"]["prompts"] == 24
    new = {key.split("/")[0] for key in served_copy.finished_keys().keys() - before.keys()}
    assert new == {"decide_promotion"}, "all the rest had been measured by the run"
    assert served_copy.json("ls")[0]["outcome"] == "promoted"
    first = current_alias(served_copy.home, "apo", "champion")
    assert first and first.evidence["win_rate"] == told["figures"]["win_rate"]
    assert "is the champion of apo already" in served_copy("promote").stdout
    assert "nobody was before it" in served_copy.refusal("demote")

    # A second candidate, whose test prompts the champion has to answer.
    words = sets("policy.method=rjs", "baseline=false", "golden_sft=null")
    shown = served_copy("run", "apo", "-c", str(SMALL), *words).stdout
    assert "✓ update_policy · APO-RJS-v1  completed" in shown
    for reused in ("prepare_data", "update_policy · SFT", "update_reward_model · RM_APO-v1"):
        assert f"= {reused}  cached" in shown
    before = served_copy.finished_keys()
    served_copy("promote", *LOW)
    new = {key.split("/")[0] for key in served_copy.finished_keys().keys() - before.keys()}
    assert new == {"evaluate_policy", "decide_promotion"}, "champion: sampled and scored"
    report = (
        list_manifests(served_copy.home, "decide_promotion")[-1].folder(served_copy.home)
        / "report.md"
    )
    assert "win rate against champion, by RM_Test" in report.read_text()
    second = current_alias(served_copy.home, "apo", "champion")
    assert second and second.number == 2 and second.models != first.models

    served_copy("demote")
    third = current_alias(served_copy.home, "apo", "champion")
    assert third and (third.number, third.models, third.restores) == (3, first.models, 1)
    assert "nobody was before it" in served_copy.refusal("demote")
    assert len(alias_history(served_copy.home, "apo", "champion")) == 3


def test_what_cannot_be_promoted_is_said(served_copy: Shell, fresh: Shell) -> None:
    assert "no flow has a candidate yet" in fresh.refusal("promote")
    assert "no flow has a champion yet" in fresh.refusal("demote")
    assert "exo has no candidate yet" in fresh.refusal("promote", "--flow", "exo")
    assert "there is no flow 'apa'" in fresh.refusal("promote", "--flow", "apa")
    assert "run 'apo-1' was no candidate" in served_copy.refusal("promote", "apo-1")
    assert "RM_Tst" in served_copy.refusal("promote", *sets("gate.tester=RM_Tst"))
    assert "only values of the gate" in served_copy.refusal("promote", *sets("seed=1"))
    (rm,) = [
        one for one in list_manifests(served_copy.home, "evaluate_policy") if one.label == "start"
    ]
    (rm.folder(served_copy.home) / "evaluation.json").unlink()
    assert "start evaluation of apo-" in served_copy.refusal("promote")
