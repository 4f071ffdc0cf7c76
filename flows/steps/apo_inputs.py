"""Step 1 of the flow `apo`: data, gold, the start policy, and the reward models that stay fixed."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.apo import ApoConfig
from flows.steps.inputs import (
    check_inputs,
    file_artifact,
    model_artifact,
    source_artifacts,
    start_artifact,
)
from tasks.collect_gold import collect_gold
from tasks.initialise_policy import initialise_policy
from tasks.prepare_data import prepare_data
from tasks.stages.artifact import Artifact
from tasks.update_policy import update_policy
from tasks.update_reward_model import update_reward_model


class ApoInputs(NamedTuple):
    """What both sides of the game start from, and who judges them."""

    data: Artifact
    """The prepared splits."""
    gold: Artifact
    """Gold responses, `train` and `dev`."""
    start: Artifact
    """The policy after SFT."""
    reward_init: Artifact
    """The model that every adapted reward model is trained from."""
    reward_base: Artifact
    """RM_Base: the fixed reward model of the baseline."""
    testers: dict[str, Artifact]
    """Testing reward models by name: trained on more preferences, never used in training."""


def prepare_inputs(config: ApoConfig) -> ApoInputs:
    """Prepare the data and gold, and train what the game starts from and is judged by.

    Raises:
        ConfigError: A file is missing, or a model that the configuration names.
    """
    check_inputs(config)
    data = prepare_data(source_artifacts(config.data), config=config.data)
    start = _start_policy(config, data)
    judge = start
    if config.reward.base:
        judge = model_artifact(config.reward.base, config.reward.template, "reward base")
    reward_init = judge
    if config.start.reward_model:
        reward_init = start_artifact(config.start.reward_model, "reward_model")
    preferences = [data.part("rm_train")]
    reward_base = _plain_reward_model(config, reward_init, preferences, "RM_Base")
    answers = file_artifact(config.gold.path) or data.part("rm_train")
    gold = collect_gold(data.part("rm_queries"), answers, config=config.gold)
    preferences.append(data.part("policy_train"))
    testers = {"RM_Test": _plain_reward_model(config, judge, preferences, "RM_Test")}
    if "RM_All" in config.testers():
        preferences.append(data.part("extra"))
        testers["RM_All"] = _plain_reward_model(config, judge, preferences, "RM_All")
    return ApoInputs(data, gold, start, reward_init, reward_base, testers)


def _start_policy(config: ApoConfig, data: Artifact) -> Artifact:
    """Return the configured policy after SFT, or the finished one that `start.policy` names."""
    if config.start.policy:
        return start_artifact(config.start.policy, "policy")
    demonstrations = data.part("demonstrations")
    corpora, base = [demonstrations, data.part("rm_train")], file_artifact(config.model.path)
    start = initialise_policy(corpora, base, config=config.model, seed=config.seed)
    if config.sft is None:
        return start
    return update_policy(start, [demonstrations], config=config.sft, seed=config.seed, label="SFT")


def _plain_reward_model(
    config: ApoConfig, base: Artifact, preferences: list[Artifact], label: str
) -> Artifact:
    """Train a reward model on human preferences alone (equation 1)."""
    return update_reward_model(
        base, list(preferences), config=config.reward.plain(), seed=config.seed, label=label
    )
