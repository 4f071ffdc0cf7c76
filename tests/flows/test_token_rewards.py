"""AVA in the other flows, end to end: its reward models pick, reinforce and play the game."""

from __future__ import annotations

from tasks.stages.manifest import Manifest, list_manifests
from tests.flows.command import SMALL, Shell, sets


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
