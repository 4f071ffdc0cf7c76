"""Steps 1 and 2 of the flow `exo`: data, prompts, oracle, and the start π_sft."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import ORACLE
from flows.steps.data_examination import examined
from flows.steps.inputs import (
    base_policy,
    check_inputs,
    file_artifact,
    oracle_artifact,
    prepared_data,
    reward_base,
    source_artifacts,
)
from tasks.extract_prompts import extract_prompts
from tasks.models.base_policy import hub_name
from tasks.prepare_texts import prepare_texts
from tasks.stages.artifact import Artifact
from tasks.train_classifier import train_classifier
from tasks.update_policy import update_policy


class SharedInputs(NamedTuple):
    """What every branch of a run shares."""

    start: Artifact
    """π_sft: the start of every branch, and the reference of every KL."""
    train: Artifact
    """Prompts that policies are trained on."""
    dev: Artifact
    """Prompts that settings are chosen by."""
    test: Artifact
    """Prompts that the report measures on; of dialogues, pairs with the chosen response first."""
    preferences: list[Artifact]
    """D_pref where it is given."""
    pairs: dict[str, Artifact]
    """Pairs that measure the reward model, where they are given."""
    oracle: Artifact | None
    """Who knows the true reward: a classifier, or the playground's world."""
    reward_base: Artifact | None = None
    """What the reward model starts from; None: from the start."""
    examination: Artifact | None = None
    """What of dialogues the models will not see."""


def prepare_inputs(config: ExoConfig) -> SharedInputs:
    """Prepare data and prompts, and make the start.

    Raises:
        ConfigError: A file is missing, or splits share prompts.
    """
    check_inputs(config)
    return _from_texts(config) if config.texts else _from_dialogues(config)


def _from_dialogues(config: ExoConfig) -> SharedInputs:
    assert config.data is not None, "asked where there are dialogues"
    judge = reward_base(config)
    data = prepared_data(config, [judge] if judge and config.reward.template is None else [])
    demonstrations = data.part("demonstrations")
    pairs = [data.part(name) for name in config.pair_parts()]
    base = base_policy(config, [demonstrations, pairs[0]])
    examination = _examined(config, data, base)
    start = _start(config, base, demonstrations)
    train, dev, test = (data.part(name) for name in (config.data.policy_part, "dev", "test"))
    measured = {"test": test, "dev": dev}
    oracle = _classifier(config, None) if config.oracle.model else oracle_artifact(config.data)
    return SharedInputs(start, train, dev, test, pairs, measured, oracle, judge, examination)


def _examined(config: ExoConfig, data: Artifact, base: Artifact) -> Artifact:
    sft = config.sft.limits if config.sft and not config.start.policy else None
    # Another reward model's tokenizer counts otherwise, and in its own training.
    reward = config.reward.limits if config.reward.base is None else None
    trained_on = {"rm_train": reward, "policy_train": config.limits}
    trained_on = {"demonstrations": sft} | {one: trained_on[one] for one in config.pair_parts()}
    asked = {config.data.policy_part, "test"} if config.data else {"test"}
    prompts = {name: config.limits for name in sorted(asked - trained_on.keys())}
    return examined(data, base, config.model.template, trained_on=trained_on, prompts=prompts)


def _from_texts(config: ExoConfig) -> SharedInputs:
    assert config.texts is not None, "asked where there are texts"
    texts = prepare_texts(source_artifacts(config.texts), config=config.texts)
    corpus = texts.part("corpus")
    base = base_policy(config, [corpus])
    tests = texts.part("test_prompts") if config.texts.test_prompts else None
    prompts = extract_prompts(base, texts.part("prompts"), tests, config=config.prompts)
    oracle = _classifier(config, texts) if config.has_oracle else None
    train, dev, test = (prompts.part(name) for name in ("train", "dev", "test"))
    # Without a corpus the start learns prefix → continuation, as in the paper.
    start = _start(config, base, corpus if config.texts.corpus else train)
    return SharedInputs(start, train, dev, test, [], {}, oracle, reward_base(config))


def _classifier(config: ExoConfig, texts: Artifact | None) -> Artifact:
    """Return the oracle: a classifier trained on labelled texts, or a finished one."""
    source = config.oracle.source
    folder = file_artifact(source) if source and not hub_name(source)[0] else None
    labelled, held_out = None, None
    if texts is not None and config.texts and config.texts.labelled:
        labelled, held_out = texts.part("labelled"), texts.part("held_out")
    return train_classifier(labelled, held_out, folder, config=config.oracle, label=ORACLE)


def _start(config: ExoConfig, base: Artifact, demonstrations: Artifact) -> Artifact:
    """Return the base policy after SFT; a finished policy that was named is the start itself."""
    if config.sft is None or config.start.policy:
        return base
    return update_policy(base, [demonstrations], config=config.sft, seed=config.seed, label="SFT")
