"""Steps 3 and 4 of the flow `exo`: the preferences, and the reward estimated from them."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import ORACLE, RM
from flows.steps.evaluation import evaluate_on_pairs
from flows.steps.exo_inputs import SharedInputs
from flows.steps.reward_models import reward_init, train_reward_model
from tasks.label_preferences import label_preferences
from tasks.sample_responses import sample_responses
from tasks.stages.artifact import Artifact


class Supervision(NamedTuple):
    """What the branches learn from, and who judges what they have learnt."""

    preferences: list[Artifact]
    """D_pref."""
    reward_model: Artifact | None
    """Estimated from D_pref; None where the oracle is the reward."""
    evaluations: dict[str, Artifact]
    """Evaluations of the reward model, by its name."""
    reward_source: Artifact | None
    """What scores samples: the reward model or the oracle; None with preferences alone."""
    judges: dict[str, Artifact]
    """Who scores every checkpoint, by name; the one that draws the frontier first."""


def estimate_reward(config: ExoConfig, inputs: SharedInputs) -> Supervision:
    """Have D_pref labelled where it is not given, and estimate the reward model from it."""
    preferences, pairs = inputs.preferences, inputs.pairs
    if config.is_labelled:
        preferences = [_label_samples(config, inputs, inputs.train, "D_pref")]
    known = {ORACLE: inputs.oracle}
    if config.supervision == "oracle":
        return Supervision(preferences, None, {}, inputs.oracle, _judges(config, known))
    if config.is_labelled:
        pairs = {"test": _label_samples(config, inputs, inputs.dev, "held-out pairs")}
    init = reward_init(config, inputs.reward_base or inputs.start)
    model = train_reward_model(config, config.reward.objective, init, preferences, label=RM)
    evaluations = {RM: evaluate_on_pairs(config, RM, model, pairs)}
    source = None if config.supervision == "preferences" else model
    judges = _judges(config, {**known, RM: model})
    return Supervision(preferences, model, evaluations, source, judges)


def _label_samples(
    config: ExoConfig, inputs: SharedInputs, prompts: Artifact, label: str
) -> Artifact:
    """Draw two samples of the start per prompt, and let the oracle choose the better one."""
    assert inputs.oracle is not None, "the configuration was refused without one"
    # Drawn apart from D_rw, so that the reward model scores samples it was not trained on.
    samples = sample_responses(
        inputs.start,
        prompts,
        config=config.rollout(config.draws(config.temperature, 2), config.max_queries),
        seed=config.seed + 1,
        label=label,
    )
    return label_preferences(samples, inputs.oracle, config=config.labels, label=label)


def _judges(config: ExoConfig, known: dict[str, Artifact | None]) -> dict[str, Artifact]:
    return {name: judge for name in config.judges() if (judge := known.get(name)) is not None}
