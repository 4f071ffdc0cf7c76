"""Step 1 of the flow `apo`: data, gold, the start policy, and the reward models that stay fixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flows.configs.apo import ApoConfig
from flows.steps.data_examination import examined
from flows.steps.inputs import (
    base_policy,
    check_inputs,
    file_artifact,
    model_artifact,
    prepared_data,
    reward_base,
)
from flows.steps.reward_models import reward_init, train_reward_model
from tasks.ask_people import ask_people
from tasks.collect_gold import collect_gold
from tasks.gold.collection import CANDIDATES
from tasks.pick_gold import pick_gold
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.training.methods.reward_objectives import BRADLEY_TERRY
from tasks.update_policy import update_policy


class ApoInputs(NamedTuple):
    """What both sides of the game start from, and who judges them."""

    data: Artifact
    """The prepared splits."""
    examination: Artifact
    """What of them the models will not see."""
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
    judge = reward_base(config)
    data = prepared_data(config, _models_beside(config, judge))
    base = base_policy(config, [data.part("demonstrations"), data.part("rm_train")])
    examination = _examined(config, data, base)
    start = _start_policy(config, base, data)
    judge = judge or start
    init = reward_init(config, judge)
    preferences = [data.part("rm_train")]
    unadapted = config.reward.unadapted
    baseline = train_reward_model(config, unadapted, init, preferences, label="RM_Base")
    gold = _gold(config, data, baseline)
    preferences.append(data.part("policy_train"))
    testers = {"RM_Test": _tester(config, judge, preferences, "RM_Test")}
    if "RM_All" in config.testers():
        preferences.append(data.part("extra"))
        testers["RM_All"] = _tester(config, judge, preferences, "RM_All")
    return ApoInputs(data, examination, gold, start, init, baseline, testers)


def _gold(config: ApoConfig, data: Artifact, reward_model: Artifact) -> Artifact:
    """Collect gold; of several candidates the run's judge or the reward model takes the best."""
    queries, answers = data.part("rm_queries"), file_artifact(config.gold.path)
    if config.gold.provider == "chosen":
        answers = data.part("rm_train")
    elif config.gold.people is not None:
        answers = ask_people(queries, config=config.gold.people).part("groups")
    gold = collect_gold(queries, answers, data.part("rm_train"), config=config.gold)
    if config.gold.candidates == 1:
        return gold
    choice, scores = config.gold_choice(), None
    if choice.judge is None:
        candidates = gold.part(CANDIDATES)
        scores = score_responses(
            reward_model, candidates, config=config.scoring(), label="candidates for gold"
        )
    return pick_gold(gold, scores, config=choice)


def _models_beside(config: ApoConfig, judge: Artifact | None) -> Iterator[Artifact]:
    """Yield the models beside the base policy that read the data by their own chat template."""
    if judge is not None and config.reward.template is None:
        yield judge
    for name, source in config.compare_with.items():
        if config.template_of(name) is None:
            yield model_artifact(source, None, name)


def _examined(config: ApoConfig, data: Artifact, base: Artifact) -> Artifact:
    sft = config.sft.limits if config.sft and not config.start.policy else None
    # Another reward model's tokenizer counts otherwise, and in its own training.
    reward = config.reward.limits if config.reward.base is None else None
    prompts = {name: config.policy.limits for name in (config.data.policy_part, "test")}
    trained_on = {"demonstrations": sft, "rm_train": reward}
    return examined(data, base, config.model.template, trained_on=trained_on, prompts=prompts)


def _start_policy(config: ApoConfig, base: Artifact, data: Artifact) -> Artifact:
    """Return the base policy after SFT; a finished one that `start.policy` names stays."""
    if config.sft is None or config.start.policy:
        return base
    demonstrations = [data.part("demonstrations")]
    return update_policy(base, demonstrations, config=config.sft, seed=config.seed, label="SFT")


def _tester(config: ApoConfig, base: Artifact, preferences: list[Artifact], label: str) -> Artifact:
    """Train a testing reward model on human preferences alone (equation 1)."""
    return train_reward_model(config, BRADLEY_TERRY, base, preferences, label=label)
