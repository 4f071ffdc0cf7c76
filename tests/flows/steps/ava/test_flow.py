"""The steps of the flow `ava` in their order, what arms share, and what each is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.ava import ava
from flows.configs.ava import AvaConfig
from flows.steps.ava.arm_evaluation import judge_champion
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tasks.stages.runs.context import current_run
from tests.flows.steps.noted_calls import made, titles

SMALL = Path(__file__).parents[2] / "configs" / "ava-small.yaml"


def config(*overrides: str) -> AvaConfig:
    return validate(AvaConfig, apply_overrides(load_config(SMALL), overrides), "ava-small.yaml")


def ran(calls: list[StageCall], arms: str, *overrides: str) -> dict[str, StageCall]:
    """Run the flow on these arms; return its calls by title."""
    ava.fn(config(f"arms=[{arms}]", *overrides))
    return dict(zip(titles(calls), calls, strict=True))


def part(call: StageCall, role: str) -> str:
    return call.inputs[role].digest.partition("/")[2]


def test_a_reward_model_goes_the_papers_way(calls: list[StageCall]) -> None:
    found = ran(calls, "{objective: ava_p}")
    assert list(found) == [
        "prepare_data",
        "initialise_policy",
        "examine_data",
        "update_policy · SFT",
        "update_tqr · RM_Test",
        "sample_responses · start",
        "score_responses · start by RM_Test",
        "evaluate_policy · start",
        "score_responses · chosen by RM_Test",
        "evaluate_policy · chosen",
        "evaluate_reward_model · RM_Test",
        "sample_responses · start K4",
        "score_responses · start for best-of-N by oracle",
        "update_tqr · AVA-p s0",
        "evaluate_reward_model · AVA-p s0",
        "diagnose_rewards · AVA-p s0",
        "score_responses · start by AVA-p s0",
        "pick_best_of_n · BoN w/ AVA-p s0",
        "score_responses · BoN w/ AVA-p s0 by RM_Test",
        "score_responses · BoN w/ AVA-p s0 by its reward model",
        "evaluate_policy · BoN w/ AVA-p s0",
        "update_policy_by_ppo · PPO w/ AVA-p s0",
        "sample_responses · PPO w/ AVA-p s0",
        "score_responses · PPO w/ AVA-p s0 by RM_Test",
        "score_responses · PPO w/ AVA-p s0 by its reward model",
        "evaluate_policy · PPO w/ AVA-p s0",
        "write_ava_report",
    ]
    trained = found["update_tqr · AVA-p s0"]
    assert part(trained, "groups.0") == "rm_train"
    assert part(found["update_tqr · RM_Test"], "groups.0") == "policy_train"
    ppo = found["update_policy_by_ppo · PPO w/ AVA-p s0"]
    start = found["update_policy · SFT"]
    assert ppo.inputs["policy"].digest == ppo.inputs["reference"].digest
    assert ppo.inputs["policy"].digest == trained.inputs["base"].digest
    assert ppo.inputs["policy"].stage == start.spec.name and part(ppo, "prompts") == "policy_train"


def test_the_report_is_told_the_course_of_reward_hacking(calls: list[StageCall]) -> None:
    """The start's samples by the judge and by every reward model, and PPO's snapshots."""
    found = ran(calls, "{objective: [ava_p, bradley_terry]}", "ppo.snapshots=2")
    report = found["write_ava_report"]
    scored = {name for name in report.inputs if name.startswith("start_scores.")}
    assert scored == {f"start_scores.{one}" for one in ("oracle", "AVA-p s0", "Bradley-Terry s0")}
    snapshots = [one["name"] for one in report.config["snapshots"]]
    assert snapshots == ["PPO w/ AVA-p s0 1/2", "PPO w/ Bradley-Terry s0 1/2"]
    assert f"policies.{snapshots[0]}" in report.inputs
    assert part(found[f"sample_responses · {snapshots[0]}"], "policy") == "snapshots/1"
    assert found["update_policy_by_ppo · PPO w/ AVA-p s0"].config["snapshots"] == 2


def test_an_ablated_reward_model_ends_with_its_accuracy(calls: list[StageCall]) -> None:
    found = ran(calls, "{objective: ava_p, ablation: cer}")
    assert "evaluate_reward_model · AVA-p w/o cer s0" in found
    stages = {call.spec.name for call in calls}
    assert not stages & {"pick_best_of_n", "update_policy_by_ppo"}
    assert found["update_tqr · AVA-p w/o cer s0"].config["ava"]["c_cer"] == 0


@pytest.mark.parametrize(
    ("objective", "data", "stage", "learnt"),
    [
        ("ava_p", "preferences", "update_tqr", "rm_train"),
        ("ava_d", "preferences", "update_tqr", "rm_train"),
        ("ava_d", "demonstrations", "update_tqr", "demonstrations"),
        ("dpo", "preferences", "update_policy", "rm_train"),
        ("sft", "preferences", "update_policy", "rm_train"),
        ("sft", "demonstrations", "update_policy", "demonstrations"),
    ],
)
def test_a_direct_arm_is_a_policy_that_everybody_judges(
    calls: list[StageCall], objective: str, data: str, stage: str, learnt: str
) -> None:
    ran(calls, f"{{objective: {objective}, data: {data}, pipeline: direct}}")
    (trained,) = [one for one in calls if one.spec.name == stage and one.label.endswith(" s0")]
    assert part(trained, "groups.0") == learnt
    assert ("reference_logps" in trained.inputs) == (objective == "dpo")
    evaluated = [one for one in calls if one.spec.name == "evaluate_policy"][-1]
    assert evaluated.label == trained.label
    assert {"opponents.start", "opponents.chosen", "kl_samples"} <= set(evaluated.inputs)


def test_sft_imitates_the_chosen_half_of_pairs(calls: list[StageCall]) -> None:
    arms = "{objective: sft, pipeline: direct, data: [preferences, demonstrations]}"
    found = ran(calls, arms)
    assert found["update_policy · SFT s0"].config["method"] == "rjs"
    assert found["update_policy · SFT on demonstrations s0"].config["method"] == "sft"


def test_afd_is_its_sft_its_samples_and_its_pairs_once_for_all_arms(
    calls: list[StageCall],
) -> None:
    arms = "{objective: [ava_p, dpo], pipeline: direct, data: afd, seeds: [0, 1]}"
    found = ran(calls, arms)
    afd = [title for title in found if "AfD" in title and " w/ " not in title]
    assert afd == [
        "sample_responses · AfD, sft",
        "sample_responses · AfD, init",
        "pair_demonstrations · AfD init_sft",
    ]
    pairs = found["pair_demonstrations · AfD init_sft"]
    drawn = [found[title].inputs["policy"].digest for title in afd[:2]]
    start = found["update_tqr · AVA-p w/ AfD s0"].inputs["base"].digest
    assert drawn[1] == start and drawn[0] != start
    assert found["sample_responses · AfD, sft"].config["sampling"]["samples"] == 1
    arms = [one for title, one in found.items() if "w/ AfD" in title]
    used = {one.inputs["groups.0"].digest for one in arms if one.spec.name == "update_tqr"}
    assert len(used) == 1 and pairs.config["pairing"] == "init_sft"
    passes = [one for one in calls if one.spec.name == "compute_reference_logps"]
    assert len(passes) == 1, "two seeds of DPO share one pass of the start"


def test_a_pairing_with_demonstrations_samples_one_side_alone(calls: list[StageCall]) -> None:
    arms = "{objective: dpo, pipeline: direct, data: afd}"
    found = ran(calls, arms, "afd_pairing=init_demo")
    assert "sample_responses · AfD, sft" not in found
    pairs = found["pair_demonstrations · AfD init_demo"]
    assert part(pairs, "chosen") == "demonstrations"


ON_DEMONSTRATIONS = (
    "{objective: [ava_d, sft], pipeline: direct, data: demonstrations},"
    "{objective: [ava_p, dpo], pipeline: direct, data: afd}"
)


def solved(tmp_path: Path, **more: str) -> str:
    """Return data that are demonstrations, with whatever else is named."""
    sources = {"demonstrations": "solved.jsonl", **more}
    for file in sources.values():
        (tmp_path / file).write_text("{}\n")
    named = ", ".join(f"{name}: [{{path: {file}}}]" for name, file in sources.items())
    return f"data={{{named}}}"


def test_demonstrations_alone_need_no_reward_model(calls: list[StageCall], tmp_path: Path) -> None:
    told = (solved(tmp_path), "exact_match=true", "gate={tester: exact_match}")
    found = ran(calls, ON_DEMONSTRATIONS, *told)
    assert not [title for title in found if "RM_Test" in title or "evaluate_reward" in title]
    scored = found["score_responses · AVA-d on demonstrations s0 by exact_match"]
    assert part(scored, "reward_model") == "test", "its own answers are the reference"
    assert list(found["evaluate_policy · DPO w/ AfD s0"].inputs)[0] == "scores.exact_match"
    report = found["write_ava_report"].config
    assert (report["judges"], report["testers"]) == (["exact_match"], [])
    offer = current_run().offer
    assert offer is not None and set(offer.models) == {"policy"}
    assert set(offer.basis) == {"test", "start", "start evaluation", "policy evaluation"}


def test_a_champion_is_judged_by_the_numbers_too(calls: list[StageCall], tmp_path: Path) -> None:
    told = (solved(tmp_path), "exact_match=true", "gate={tester: exact_match}")
    given = config(f"arms=[{ON_DEMONSTRATIONS}]", *told)
    judge_champion(made("champion"), given, {"start": made("start"), "test": made("data")})
    assert [one.label for one in calls if one.spec.name == "score_responses"] == [
        "champion by exact_match"
    ]


def test_pairs_may_be_the_judges_alone(calls: list[StageCall], tmp_path: Path) -> None:
    told = (solved(tmp_path, preferences="pairs.jsonl"), "exact_match=true")
    found = ran(calls, ON_DEMONSTRATIONS, *told)
    assert found["prepare_data"].config["split"]["rm_share"] == 0
    assert part(found["update_tqr · RM_Test"], "groups.0") == "policy_train"
    assert part(found["update_tqr · AVA-d on demonstrations s0"], "groups.0") == "demonstrations"
    assert found["write_ava_report"].config["judges"] == ["RM_Test", "exact_match"]


def test_a_policy_draws_at_its_own_temperature_and_then_has_no_kl(
    calls: list[StageCall],
) -> None:
    arms = "{objective: [ava_p, dpo], pipeline: direct}"
    found = ran(calls, arms, "tqr.alpha=2")
    assert found["sample_responses · AVA-p s0"].config["sampling"]["temperature"] == 0.5
    assert "kl_samples" not in found["evaluate_policy · AVA-p s0"].inputs
    assert "kl_samples" in found["evaluate_policy · DPO s0"].inputs


def test_truncated_draws_have_a_kl_of_the_whole_distribution(calls: list[StageCall]) -> None:
    found = ran(calls, "{objective: sft, pipeline: direct}", "sampling.top_p=0.9")
    assert found["sample_responses · SFT s0, for KL"].config["sampling"]["top_p"] == 1.0


def test_the_base_policy_may_be_the_start(calls: list[StageCall]) -> None:
    found = ran(calls, "{objective: dpo, pipeline: direct}", "continue_from=base")
    assert "update_policy · SFT" not in found
    assert found["update_policy · DPO s0"].inputs["policy"].stage == "initialise_policy"


def test_the_report_is_told_every_arm(calls: list[StageCall]) -> None:
    found = ran(calls, "{objective: [ava_p, bradley_terry]}, {objective: dpo, pipeline: direct}")
    told = found["write_ava_report"].config
    assert [(one["line"], one["kind"]) for one in told["entries"]] == [
        ("start", "start"),
        ("chosen", "chosen"),
        ("BoN w/ AVA-p", "best_of_n"),
        ("PPO w/ AVA-p", "ppo"),
        ("BoN w/ Bradley-Terry", "best_of_n"),
        ("PPO w/ Bradley-Terry", "ppo"),
        ("DPO", "direct"),
    ]
    assert [one["line"] for one in told["rewards"]] == ["AVA-p", "Bradley-Terry"]
    assert told["judges"] == ["oracle", "RM_Test"]
