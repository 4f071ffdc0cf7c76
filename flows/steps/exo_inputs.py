"""Steps 1 and 2 of the flow `exo`: data, prompts, oracle, and the start π_sft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import ORACLE
from flows.steps.inputs import (
    check_inputs,
    file_artifact,
    oracle_artifact,
    source_artifacts,
    start_artifact,
)
from tasks.extract_prompts import extract_prompts
from tasks.initialise_policy import initialise_policy
from tasks.prepare_data import prepare_data
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


def prepare_inputs(config: ExoConfig) -> SharedInputs:
    """Prepare data and prompts, and make the start.

    Raises:
        ConfigError: A file is missing, or splits share prompts.
    """
    check_inputs(config)
    return _from_texts(config) if config.texts else _from_dialogues(config)


def _from_dialogues(config: ExoConfig) -> SharedInputs:
    assert config.data is not None, "a configuration has data or texts"
    data = prepare_data(source_artifacts(config.data), config=config.data)
    demonstrations, rm_train = data.part("demonstrations"), data.part("rm_train")
    start = _start(config, _base(config, [demonstrations, rm_train]), demonstrations)
    train, dev, test = (data.part(name) for name in ("policy_train", "dev", "test"))
    pairs, oracle = {"test": test, "dev": dev}, oracle_artifact(config.data)
    return SharedInputs(start, train, dev, test, [rm_train, train], pairs, oracle)


def _from_texts(config: ExoConfig) -> SharedInputs:
    assert config.texts is not None, "asked where there are texts"
    texts = prepare_texts(source_artifacts(config.texts), config=config.texts)
    corpus = texts.part("corpus")
    base = _base(config, [corpus])
    prompts = extract_prompts(base, texts.part("prompts"), config=config.prompts)
    oracle = None
    if config.has_oracle:
        oracle = train_classifier(
            texts.part("labelled"), texts.part("held_out"), config=config.oracle, label=ORACLE
        )
    start = _start(config, base, corpus)
    train, dev, test = (prompts.part(name) for name in ("train", "dev", "test"))
    return SharedInputs(start, train, dev, test, [], {}, oracle)


def _base(config: ExoConfig, corpora: Sequence[Artifact]) -> Artifact:
    """Return the base policy, whose tokenizer is the run's."""
    if config.start.policy:
        return start_artifact(config.start.policy, "policy")
    return initialise_policy(
        list(corpora), file_artifact(config.model.path), config=config.model, seed=config.seed
    )


def _start(config: ExoConfig, base: Artifact, demonstrations: Artifact) -> Artifact:
    """Return the base policy after SFT; a finished policy that was named is the start itself."""
    if config.sft is None or config.start.policy:
        return base
    return update_policy(base, [demonstrations], config=config.sft, seed=config.seed, label="SFT")
