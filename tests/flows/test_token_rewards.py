"""AVA in the other flows, end to end: its reward models pick, reinforce and play the game."""

from __future__ import annotations

import json

from tasks.stages.manifest import Manifest, list_manifests
from tests.flows.command import SMALL, Shell, sets

EXO = ("exo", "-c", str(SMALL.with_name("exo-small.yaml")))
BRANCHES = (
    "{method: ava_p, c_cer: 2}, {method: ava_d}, {method: dpo}, {method: ppo},"
    "{method: best_of_n, responses: 2}"
)
QUICK = (
    f"branches=[{BRANCHES}]",
    "ppo_search=null",
    "evaluation={prompts: 6, samples: 2, bootstrap_samples: 20, examples: 1, density: null}",
    "training.snapshots=1",
    "ppo.total_steps=2",
    "placement.side_by_side=1",
    "sft.training.max_steps=3",
)


def made(shell: Shell, stage: str) -> dict[str, Manifest]:
    return {one.label: one for one in list_manifests(shell.home, stage)}


def test_a_tqr_leads_the_policy_of_the_game(served_copy: Shell) -> None:
    """It learns from gold over samples too, scores what the policy learns from, and is reported."""
    wanted = ("reward.objective=ava_p", "reward.ablations=[]", "baseline=false", "golden_sft=null")
    served_copy("run", "apo", "-c", str(SMALL), *sets(*wanted))
    tqrs = made(served_copy, "update_tqr")
    assert set(tqrs) == {"RM_Base", "RM_APO-v1"}
    metrics = tqrs["RM_APO-v1"].metrics
    assert metrics["data/apo/groups"] > 0 and metrics["apo/accuracy/last"] > 0
    (trained,) = [
        one
        for one in list_manifests(served_copy.home, "score_responses")
        if one.inputs["reward_model"].key == tqrs["RM_APO-v1"].key
    ]
    policies = list_manifests(served_copy.home, "update_policy")
    (policy,) = [one for one in policies if one.inputs["groups.0"].key == trained.key]
    assert policy.label == "APO-DPO-v1"
    numbers = served_copy.json("report")["numbers"]
    assert {"RM_Base", "RM_APO-v1", "RM_Test"} <= set(numbers["reward_models"])
    assert "APO-DPO-v1" in numbers["policies"]


def test_tqrs_pick_reinforce_and_are_aligned_at_equal_kl(served_fresh: Shell) -> None:
    """One run of exo: its reward model is a TQR, and two of its branches train one."""
    served_fresh("run", *EXO, *sets(*QUICK, "reward.objective=ava_p"))
    tqrs = made(served_fresh, "update_tqr")
    assert set(tqrs) == {"RM", "AVA-p c_cer=2 s0", "AVA-d on chosen s0"}
    picked = made(served_fresh, "pick_best_of_n")["Best-of-N N=2 s0"]
    scored = {one.key: one for one in list_manifests(served_fresh.home, "score_responses")}
    by = scored[picked.inputs["responses"].key].inputs["reward_model"]
    ppo = made(served_fresh, "update_policy_by_ppo")["PPO s0"]
    assert by.key == ppo.inputs["reward_model"].key == tqrs["RM"].key
    evaluations = made(served_fresh, "evaluate_policy")
    for name in ("AVA-p c_cer=2 s0", "AVA-d on chosen s0"):
        drawn = tqrs[name].folder(served_fresh.home) / "generation_config.json"
        assert json.loads(drawn.read_text())["temperature"] == 0.8
        assert evaluations[name].metrics["kl"] > 0
    (report,) = list_manifests(served_fresh.home, "write_exo_report")
    drawn = (report.folder(served_fresh.home) / "figure-2.csv").read_text()
    for line in ("AVA-p", "AVA-d", "DPO-pref", "PPO", "Best-of-N"):
        assert line in drawn
    again = ("plan", *EXO, *sets(*QUICK))
    finished = sets("start.reward_model=latest/RM")
    assert "set reward.objective to ava_p" in served_fresh.refusal(*again, *finished)
    planned = served_fresh.json(*again, *finished, *sets("reward.objective=ava_p"))
    state = {f"{one['stage']} {one['label']}": one["state"] for one in planned}
    assert state["update_tqr RM"] == "to run" and state["update_tqr AVA-d on chosen s0"] == "done"
    cold = sets("start.policy=latest/AVA-d on chosen s0", "temperature=0.5")
    assert "its alpha is 1.25" in served_fresh.refusal(*again, *cold)
