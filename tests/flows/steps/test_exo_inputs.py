"""What reward model and policies of the flow `exo` learn from, start from, and are judged on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.configs.exo import ExoConfig
from flows.exo import exo
from flows.steps.evaluation import EvaluatedPolicy
from flows.steps.exo_results import report_config
from tasks.evaluation.exo.config import ExoEntry, ExoReportConfig
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tests.flows.steps.noted_calls import made

SMALL = Path(__file__).parents[1] / "configs" / "exo-small.yaml"
BRANCHES = "branches=[{method: exo_rw, responses: 2}, {method: ppo}, {method: best_of_n}]"


def config(*overrides: str) -> ExoConfig:
    wanted = (BRANCHES, "ppo_search=null", "evaluation.density=null", *overrides)
    return validate(ExoConfig, apply_overrides(load_config(SMALL), wanted), "exo-small.yaml")


def parts(calls: list[StageCall], stage: str, role: str) -> list[str]:
    """Which parts of the prepared data the calls of a stage were given in a role."""
    found = (
        artifact.digest.partition("/")[2]
        for call in calls
        if call.spec.name == stage
        for name, artifact in call.inputs.items()
        if name.partition(".")[0] == role
    )
    return list(dict.fromkeys(found))


def told_to_report(settings: ExoConfig) -> ExoReportConfig:
    start = EvaluatedPolicy(ExoEntry(name="start", kind="start"), made("evaluation"), None)
    return report_config(settings, [start])


@pytest.mark.parametrize(
    ("overrides", "pairs", "asked", "told"),
    [
        (["data.split={}"], ["policy_train"], "policy_train", "all of D_pref's"),
        (
            ["data.split={rm_share: 0.5}"],
            ["rm_train", "policy_train"],
            "policy_train",
            "the policy's of D_pref",
        ),
        (
            ["data.split={}", "data.policy_prompts=[{path: prompts.jsonl}]"],
            ["policy_train"],
            "policy_prompts",
            "a source's own",
        ),
    ],
)
def test_all_pairs_teach_and_all_their_prompts_are_asked(
    calls: list[StageCall], overrides: list[str], pairs: list[str], asked: str, told: str
) -> None:
    """Unless the configuration says which: the report says so too."""
    Path("prompts.jsonl").write_text("{}\n")
    exo.fn(config(*overrides))
    assert parts(calls, "update_reward_model", "preferences") == pairs
    assert parts(calls, "update_policy_by_ppo", "prompts") == [asked]
    assert set(parts(calls, "sample_responses", "queries")) == {asked, "test"}
    assert told_to_report(config(*overrides)).facts["training prompts"] == told


def test_dev_is_held_out_unless_it_is_asked_to_be_shared(calls: list[StageCall]) -> None:
    exo.fn(config("data.split={}"))
    assert calls[0].config["split"]["dev_from_policy"] == "held_out"
    assert told_to_report(config("data.split={}")).seen == ()
    assert told_to_report(config("data.split={dev_from_policy: shared}")).seen == ("dev",)


def test_the_reward_model_starts_from_the_base_that_is_named(calls: list[StageCall]) -> None:
    Path("pretrained").mkdir()
    (Path("pretrained") / "config.json").write_text("{}")
    exo.fn(config("reward.base=./pretrained"))
    trained = next(call for call in calls if call.spec.name == "update_reward_model")
    assert trained.inputs["base"].path.name == "pretrained"
    assert "base" not in trained.config, "where it lies is in no key"
    assert [model.source for model in config("reward.base=./x").named_models()] == ["./x"]


def test_answers_that_are_judged_may_have_draws_of_their_own(calls: list[StageCall]) -> None:
    """The KL is estimated at training's τ all the same, and best-of-N picks of what is judged."""
    own = config("evaluation.temperature=0.95", "evaluation.top_p=0.9")
    exo.fn(own)
    drawn = {
        call.label: tuple(call.config["sampling"][name] for name in ("temperature", "top_p"))
        for call in calls
        if call.spec.name == "sample_responses"
    }
    assert drawn["start"] == drawn["test τ0.8 K128"] == (0.95, 0.9)
    assert drawn["start, for KL"] == drawn["train τ0.8 K2"] == (0.8, 1.0)
    assert told_to_report(own).facts["judged answers"] == "drawn at τ 0.95, top-p 0.9"
    calls.clear()
    exo.fn(config())
    assert "start, for KL" not in {call.label for call in calls}
