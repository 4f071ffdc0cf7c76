"""The one evaluator: what is sampled, who scores, and what a policy is compared with."""

from __future__ import annotations

import pytest

from flows.configs.apo import ApoConfig
from flows.steps.evaluation import CHOSEN, PolicyEvaluator, evaluate_on_pairs
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tests.flows.command import SMALL
from tests.flows.steps.noted_calls import made, titles

CHANGES = ("evaluation.bins=7", "evaluation.examples=3", "evaluation.bootstrap_samples=11")
CONFIG = validate(ApoConfig, apply_overrides(load_config(SMALL), CHANGES), "small.yaml")
ROLLOUT = CONFIG.test_rollout()
JUDGES = {"RM_Test": made("tester"), "RM_All": made("all")}


def evaluator() -> PolicyEvaluator:
    return PolicyEvaluator(CONFIG, made("start"), made("test"), JUDGES, made("world"))


def test_one_set_of_samples_serves_scores_and_kl_where_both_draw_alike(
    calls: list[StageCall],
) -> None:
    evaluator().evaluate_policy("mine", made("policy"), ROLLOUT, ROLLOUT, {"start": made("e")})
    assert titles(calls) == [
        "sample_responses · mine",
        "score_responses · mine by RM_Test",
        "score_responses · mine by RM_All",
        "evaluate_policy · mine",
    ]
    sampled, scored, _, evaluated = calls
    assert sampled.inputs["queries"].digest == "test" and sampled.config == ROLLOUT.model_dump(
        mode="json"
    )
    assert scored.inputs["reward_model"].digest == "tester"
    drawn = scored.inputs["responses"].digest
    found = {role: artifact.digest for role, artifact in evaluated.inputs.items()}
    assert (found["policy"], found["reference"], found["kl_samples"]) == ("policy", "start", drawn)
    assert (found["oracle"], found["opponents.start"]) == ("world", "e")
    assert evaluated.config == {
        "limits": CONFIG.policy.limits.model_dump(),
        "template": "plain",
        "chosen": False,
        "examples": 3,
        "bootstrap_samples": 11,
        "temperature": 1.0,
    }


def test_other_draws_for_the_kl_are_samples_of_their_own(calls: list[StageCall]) -> None:
    sampling = ROLLOUT.sampling.model_copy(update={"temperature": 0.7})
    own = ROLLOUT.model_copy(update={"sampling": sampling})
    evaluator().evaluate_policy("mine", made("policy"), ROLLOUT, own, {})
    assert titles(calls)[:2] == ["sample_responses · mine", "sample_responses · mine, for KL"]
    kl_samples = calls[-1].inputs["kl_samples"].digest
    assert kl_samples != calls[2].inputs["responses"].digest
    assert calls[-1].config["temperature"] == 0.7, "the logits are divided by what was drawn at"


def test_a_policy_of_other_descent_has_no_kl(calls: list[StageCall]) -> None:
    evaluator().evaluate_policy("theirs", made("policy"), ROLLOUT, None, {})
    assert not {"reference", "kl_samples"} & calls[-1].inputs.keys()
    assert calls[-1].inputs["policy"].digest == "policy"


def test_only_given_responses_of_that_name_are_the_chosen_ones(calls: list[StageCall]) -> None:
    evaluator().evaluate_responses(CHOSEN, made("test"), {})
    evaluator().evaluate_policy(CHOSEN, made("policy"), ROLLOUT, None, {})
    chosen = [call.config["chosen"] for call in calls if call.spec.name == "evaluate_policy"]
    assert chosen == [True, False]


@pytest.mark.parametrize("question", ["instruction", "dialogue"])
def test_chosen_answers_are_no_side_where_they_are_shown_as_golden(
    question: str, calls: list[StageCall]
) -> None:
    """For people and for a judge, in whose match the chosen meet the rejected too."""
    server = {"url": "http://127.0.0.1:1/v1", "model": "m", "price": {"prompt": 0, "completion": 0}}
    more = {
        "judge": JudgeConfig.model_validate({"question": question, "endpoint": server}),
        "human_evaluation": HumanEvaluationConfig(question=question),
    }
    found = PolicyEvaluator(
        CONFIG.model_copy(update=more), made("start"), made("test"), JUDGES, made("world")
    )
    found.evaluate_responses(CHOSEN, made("test"), {})
    for name in ("start", "mine"):
        found.evaluate_policy(name, made(name), ROLLOUT, None, {})
    judged = found.judge_matches([("mine", "start"), ("mine", CHOSEN)])
    against = {"mine vs start", "mine vs start by people"}
    if question == "dialogue":
        against |= {"mine vs chosen", "mine vs chosen by people", "chosen vs rejected"}
    assert set(judged) == against


def test_a_reward_model_is_measured_as_it_scores(calls: list[StageCall]) -> None:
    evaluate_on_pairs(CONFIG, "RM", made("model"), {"test": made("pairs")})
    (call,) = calls
    assert (
        call.title == "evaluate_reward_model · RM" and call.inputs["pairs.test"].digest == "pairs"
    )
    assert call.config == {"scoring": CONFIG.scoring().model_dump(mode="json"), "bins": 7}
