"""Training a reward model by an objective of the run: with one score, or a TQR by ava_p."""

from __future__ import annotations

from collections.abc import Sequence

from flows.configs.apo import ApoConfig
from flows.configs.exo import ExoConfig
from flows.steps.inputs import start_artifact
from flows.steps.tqr_starts import require_settings, tqr_of
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact
from tasks.training.methods.reward_objectives import AVA_P, get_reward_objective
from tasks.update_reward_model import update_reward_model
from tasks.update_tqr import update_tqr


def train_reward_model(
    config: ApoConfig | ExoConfig,
    objective: str,
    base: Artifact,
    preferences: Sequence[Artifact],
    games: Artifact | None = None,
    *,
    label: str,
) -> Artifact:
    """Train a reward model from `base`, on human preferences and perhaps on games.

    Args:
        config: The run's settings.
        objective: What trains it.
        base: What it is trained from.
        preferences: D_P: folders of pairs.
        games: D_APO, where the objective learns from gold against samples.
        label: What people call it.
    """
    reward = config.reward
    pairs = list(preferences)
    if get_reward_objective(objective).trains_tqr:
        settings = reward.of_ava_p(plays=games is not None)
        return update_tqr(base, pairs, games, config=settings, seed=config.seed, label=label)
    return update_reward_model(
        base,
        pairs,
        games,
        config=reward.of_objective(objective),
        seed=config.seed,
        label=label,
    )


def reward_init(config: ApoConfig | ExoConfig, usual: Artifact) -> Artifact:
    """Return what reward models are trained from: the one that `start` names, or else `usual`.

    Raises:
        ConfigError: There is no such model, or an objective of the run cannot go on from it.
    """
    objectives, found = config.reward.objectives(), usual
    if config.start.reward_model:
        found = start_artifact(config.start.reward_model, "reward_model")
        has_score = tqr_of(found) is None
        for name in objectives:
            if has_score and name == AVA_P:
                raise ConfigError(
                    f"start.reward_model is the output of {found.stage}: it has one score and no "
                    f"output head, which {AVA_P} trains too; start from a TQR, or leave it out"
                )
            if not has_score and name != AVA_P:
                raise ConfigError(
                    f"start.reward_model is a TQR, and {name} goes on from a reward model with one "
                    f"score: set reward.objective to {AVA_P}, with the TQR's settings in reward.tqr"
                )
    if AVA_P in objectives:
        require_settings(found, config.reward.tqr, "reward.tqr")
    return found
