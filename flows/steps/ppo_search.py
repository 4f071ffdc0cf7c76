"""Tuning PPO for the flow `exo`: trials on the training prompts, chosen by dev prompts."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.exo import ExoConfig
from flows.placement.local_workers import LocalWorkers
from flows.steps.evaluation import PolicyEvaluator
from flows.steps.exo_inputs import SharedInputs
from flows.steps.inputs import oracle_artifact
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import current_run
from tasks.training.ppo.config import PpoConfig
from tasks.update_policy_by_ppo import update_policy_by_ppo

_JUDGE = "reward"


class _Trial(NamedTuple):
    """One combination of knobs."""

    name: str
    settings: PpoConfig


def tune_ppo(
    config: ExoConfig, inputs: SharedInputs, reward_source: Artifact | None, workers: LocalWorkers
) -> PpoConfig | None:
    """Return the best of the settings that the search tries; None where there is no search.

    What is best is decided on dev prompts by what PPO itself maximises: reward − kl_coef · KL. In a
    plan whose trials are still to run, the first trial stands for it.
    """
    search = config.ppo_search
    if search is None:
        return None
    assert reward_source is not None, "the configuration was refused without one"
    judges, world = {_JUDGE: reward_source}, oracle_artifact(config.data)
    evaluator = PolicyEvaluator(config, inputs.start, inputs.dev, judges, world)
    rollout = config.test_rollout(config.temperature, search.prompts, for_kl=True)
    found = search.settings(config.ppo, config.seed)
    trials = [_Trial(f"ppo trial {i}/{len(found)}", one) for i, one in enumerate(found, 1)]

    def run(trial: _Trial) -> Artifact:
        settings = config.ppo_of(config.temperature, trial.settings, {"snapshots": 1})
        policy = update_policy_by_ppo(
            inputs.start,
            reward_source,
            inputs.train,
            inputs.start,
            config=settings,
            seed=config.seed,
            label=trial.name,
        )
        return evaluator.evaluate_policy(trial.name, policy, rollout, rollout, {})

    evaluations = workers.map(trials, run)
    if any(evaluation.is_pending for evaluation in evaluations):
        return trials[0].settings
    worth = [
        evaluation.metrics[f"score/{_JUDGE}"] - trial.settings.kl_coef * evaluation.metrics["kl"]
        for trial, evaluation in zip(trials, evaluations, strict=True)
    ]
    best = max(range(len(trials)), key=worth.__getitem__)
    said = f"{trials[best].name} is best on dev: reward - kl_coef * KL is {worth[best]:.3f}"
    current_run().progress.note("ppo search", said)
    return trials[best].settings
