"""The two updates of an APO epoch: what each is called, and what it learns from."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.apo import apo
from flows.configs.apo import ApoConfig, Game
from flows.registry import CONFIGS
from flows.steps.apo_inputs import ApoInputs
from flows.steps.apo_updates import (
    Epoch,
    epochs_of,
    sample_and_score,
    train_policy,
    update_reward_models,
)
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tests.flows.command import SMALL
from tests.flows.steps.noted_calls import made, result_of, titles

INPUTS = ApoInputs(
    made("data"),
    made("examination"),
    made("gold"),
    made("start"),
    made("init"),
    made("base"),
    {"RM_Test": made("t")},
)
EPOCH = Epoch(2, "APO-DPO", "RM_APO-v2", Game("apo_rm", is_main=True), "DPO-v2")


def config(*overrides: str) -> ApoConfig:
    return validate(ApoConfig, apply_overrides(load_config(SMALL), overrides), "small.yaml")


def test_epochs_are_called_as_in_the_report() -> None:
    two = config("apo_epochs=2")

    def names(game: Game) -> list[tuple[str, str, str]]:
        return [(one.policy, one.reward_model, one.rival) for one in epochs_of(two, game)]

    main, alone = Game("apo_rm", is_main=True), Game("sequential")
    assert names(main)[1] == ("APO-DPO-v2", "RM_APO-v2", "DPO-v2")
    assert names(Game(None)) == [("DPO-v1", "RM_Base", ""), ("DPO-v2", "RM_Base", "")]
    assert names(alone)[1] == ("APO-DPO-sequential-v2", "RM_SEQUENTIAL-v2", "DPO-v2")


def test_the_baseline_is_played_first_and_may_be_left_out() -> None:
    main = Game("apo_rm", is_main=True)
    assert config().games() == (Game(None), main)
    assert config("baseline=false").games() == (main,)
    alone = config("adversarial=false", "baseline=false", "reward.ablations=[]")
    assert alone.games() == (Game(None, is_main=True),)
    more = config("reward.ablation_games=[sequential]")
    assert more.games() == (Game(None), Game("sequential"), main)
    assert config("reward.ablation_games=[apo_rm]").games() == (Game(None), main)
    for wrong in ("ablations=[ab]", "ablation_games=[ab]"):
        with pytest.raises(ConfigError, match="need adversarial"):
            config("reward.ablations=[]", f"reward.{wrong}", "adversarial=false")


def test_a_chat_model_to_compare_with_is_asked_in_its_own_template(
    calls: list[StageCall], tmp_path: Path
) -> None:
    """And has no KL to a start that it does not descend from."""
    (tmp_path / "chat").mkdir()
    named = (f"compare_with={{chat: {tmp_path}/chat, base: {tmp_path}/chat}}", "apo_epochs=1")
    apo.fn(config(*named, "compare_templates={chat: own}", "baseline=false"))
    templates = {
        call.label: call.config["template"]
        for call in calls
        if call.spec.name == "sample_responses" and call.label in ("chat", "base", "start")
    }
    assert templates == {"start": "plain", "base": "plain", "chat": None}
    assert not [call.title for call in calls if call.title.endswith("chat, for KL")]
    for wrong, problem in (("{other: own}", "no model to compare"), ("{chat: hhh}", "hhh")):
        with pytest.raises(ConfigError, match=problem):
            config(*named, f"compare_templates={wrong}")


def test_the_chat_row_of_table_2_is_what_the_papers_configuration_says(
    calls: list[StageCall], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines stand there as a comment, for whoever has the model."""
    for name in ("base", "chat"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"{name.upper()}_MODEL", str(tmp_path / name))
    lines = (CONFIGS / "apo-hh.yaml").read_text().splitlines()
    (tmp_path / "rows.yaml").write_text(
        "\n".join(line[1:].strip() for line in lines if line.startswith("#   compare_"))
    )
    rows = load_config(tmp_path / "rows.yaml")
    assert rows.keys() == {"compare_with", "compare_templates"}
    apo.fn(validate(ApoConfig, load_config(SMALL) | rows | {"apo_epochs": 1}, "small.yaml"))
    sampled = {call.label: call for call in calls if call.spec.name == "sample_responses"}
    assert sampled["LLaMA2-Chat"].config["template"] is None
    assert sampled["LLaMA2"].config["template"] == "plain"
    (report,) = [call for call in calls if call.spec.name == "write_apo_report"]
    assert {"LLaMA2", "LLaMA2-Chat"} <= {one.label for one in report.inputs.values()}


def test_an_ablation_that_plays_goes_on_from_its_own_models(calls: list[StageCall]) -> None:
    """Its v2 continues its v1 on samples of its own policy, and Figure 5 has its line."""
    apo.fn(config("reward.ablations=[]", "reward.ablation_games=[sequential]", "apo_epochs=2"))
    by_title = {call.title: call for call in calls}
    v1, v2 = (by_title[f"update_reward_model · RM_SEQUENTIAL-v{epoch}"] for epoch in (1, 2))
    assert v2.inputs["base"].digest == result_of(v1).digest
    drawn = by_title["sample_responses · RM_SEQUENTIAL-v2 queries"]
    trained = by_title["update_policy · APO-DPO-sequential-v1"]
    assert drawn.inputs["policy"].digest == result_of(trained).digest
    report = by_title["write_apo_report"].config["entries"]
    assert {one["side"] for one in report if one["epoch"]} == {
        "DPO",
        "APO-DPO-sequential",
        "APO-DPO",
    }
    games = [title for title in by_title if title.startswith("evaluate_reward_model · game")]
    assert len(games) == 8, "the state of the game is that of the main one: 2 x 3 and 2 at its end"


def test_ablations_belong_to_the_first_epoch(calls: list[StageCall]) -> None:
    settings = config("reward.ablations=[ab, sequential, apo_rm]")
    pairs, before = made("pairs"), made("before")
    later = update_reward_models(settings, INPUTS, before, pairs, EPOCH)
    assert list(later) == ["RM_APO-v2"]
    first = EPOCH._replace(number=1, reward_model="RM_APO-v1")
    models = update_reward_models(settings, INPUTS, before, pairs, first)
    assert list(models) == ["RM_APO-v1", "RM_AB-v1", "RM_SEQUENTIAL-v1"], "each of them once"
    bases = [call.inputs["base"].digest for call in calls]
    assert bases == ["init", "init", "before", "before"], "the last two go on from before"
    learns = ["apo" in call.inputs for call in calls]
    assert learns == [True, True, False, True], "ab never sees gold against samples"


@pytest.mark.parametrize(
    ("method", "stages"),
    [
        ("dpo", ["sample_responses", "score_responses", "compute_reference_logps"]),
        ("rrhf", ["sample_responses", "score_responses"]),
        ("sft", []),
        ("ppo", []),
    ],
)
def test_each_method_asks_for_what_it_learns_from(
    calls: list[StageCall], method: str, stages: list[str]
) -> None:
    settings = config(f"policy.method={method}")
    policy, judge = made("policy"), made("judge")
    scored = sample_and_score(settings, INPUTS, policy, judge, EPOCH)
    train_policy(settings, INPUTS, policy, judge, scored, EPOCH)
    update = "update_policy_by_ppo" if method == "ppo" else "update_policy"
    assert [call.spec.name for call in calls] == [*stages, update]
    if method == "sft":
        assert calls[-1].inputs["groups.0"].digest == "gold/train"
    if method == "ppo":
        assert calls[-1].inputs["reward_model"].digest == "judge"


@pytest.mark.parametrize(("wanted", "used"), [("start", "start"), ("previous", "policy")])
def test_the_reference_is_the_start_or_the_policy_before(
    calls: list[StageCall], wanted: str, used: str
) -> None:
    settings = config(f"policy.reference={wanted}")
    train_policy(settings, INPUTS, made("policy"), made("judge"), made("scored"), EPOCH)
    assert titles(calls) == ["compute_reference_logps · APO-DPO-v2", "update_policy · APO-DPO-v2"]
    assert calls[0].inputs["reference"].digest == used


def test_an_epoch_is_the_papers_steps_in_their_order(calls: list[StageCall]) -> None:
    apo.fn(config("baseline=false", "reward.ablations=[]", "apo_epochs=2"))
    shown = titles(calls)
    begin = shown.index("sample_responses · RM_APO-v2 queries")
    game = [f"evaluate_reward_model · game 2/{role}" for role in ("base", "before", "adapted")]
    epoch = shown[begin : shown.index("evaluate_policy · APO-DPO-v2") + 1]
    assert [title for title in epoch if "for KL" not in title] == [
        "sample_responses · RM_APO-v2 queries",
        "pair_with_gold · RM_APO-v2",
        "update_reward_model · RM_APO-v2",
        "evaluate_reward_model · RM_APO-v2",
        "sample_responses · held-out gold, epoch 2",
        "pair_with_gold · held-out gold, epoch 2",
        *game,
        "sample_responses · APO-DPO-v2 queries",
        "score_responses · APO-DPO-v2",
        "compute_reference_logps · APO-DPO-v2",
        "update_policy · APO-DPO-v2",
        "sample_responses · APO-DPO-v2",
        "score_responses · APO-DPO-v2 by RM_Test",
        "score_responses · APO-DPO-v2 by RM_All",
        "evaluate_policy · APO-DPO-v2",
    ]
    made_by = {call.title: call for call in calls}
    answered = made_by["sample_responses · RM_APO-v2 queries"].inputs["policy"]
    assert answered.label == "APO-DPO-v1", "the reward model learns from what it made of the policy"
