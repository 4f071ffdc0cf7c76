"""PPO from start to end: draw, assign credit, learn; resumable to the last bit.

Everything that a step draws is named by (seed, step), so the state between two steps is weights,
optimisers, the KL coefficient, the prompt cursor and the global random streams: all of it is in
each checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from tasks.data.files import GroupFolder
from tasks.data.groups import Group
from tasks.models.memory import kept_memory
from tasks.models.sample_shards import unique_prompts
from tasks.models.tokens.encoding import vocabulary_of
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.base import key_settings
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log, NullLog
from tasks.storage.digests import sha256_json
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import Checkpoints, Progress
from tasks.training.data.selection import Encoder
from tasks.training.distributed import ranks
from tasks.training.distributed.interruption import StopSignal, TrainingInterrupted
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.ppo.actor_critic import ActorCritic
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.experience import assign_credit
from tasks.training.ppo.learning import Learner
from tasks.training.ppo.models import load_models
from tasks.training.ppo.rollouts import PromptOrder, Rollouts
from tasks.training.random_state import deterministic, seed_everything
from tasks.training.snapshots import Snapshots


def train_by_ppo(
    policy: Path,
    scorer: Path,
    prompts: Path,
    reference: Path,
    config: PpoConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Reinforce a policy and save it, with its tokenizer, as the workspace's output.

    Args:
        policy: Model folder to start from.
        scorer: What scores responses: a reward model's folder, an oracle or a classifier.
        prompts: Folder of groups; each distinct prompt counts once.
        reference: Model folder of the policy that the KL is taken to.
        config: Everything else.
        workspace: Of the stage's attempt; its parts make the training resumable.
        log: Receives metrics per step and progress.
        seed: Of the order of the prompts and of all draws.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: A model cannot be loaded or has an encoder, the reference has another
            vocabulary, there are no prompts, or there are more snapshots than steps.
        StageError: A loss, a gradient or a score is not finite, or there is no space.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    encoder = Encoder.of(policy, config.template, config.limits, as_sampled=True)
    _refuse_other_vocabulary(encoder, reference)
    if not unique_prompts(GroupFolder(prompts), 1):
        raise ConfigError(f"{prompts} holds no prompts to draw responses to")
    job = TrainingJob(
        kind="ppo",
        model=policy,
        config=config.model_dump(mode="json"),
        inputs={"scorer": scorer, "prompts": prompts, "reference": reference},
        seed=seed,
    )
    return launch(job, fit, workspace, log)


def fit(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    """Reinforce the policy of a job in this process, alone or with others, and save it.

    Raises:
        ConfigError, StageError, TrainingInterrupted: As `train_by_ppo`.
    """
    config, seed, inputs = PpoConfig.model_validate(job.config), job.seed, job.inputs
    encoder = Encoder.of(job.model, config.template, config.limits, as_sampled=True)
    queries = unique_prompts(GroupFolder(inputs["prompts"]), None)
    with deterministic(), kept_memory():
        loaded = load_models(
            job.model, inputs["scorer"], inputs["reference"], encoder, config, log, seed
        )
        save = partial(loaded.trained.save, encoder=encoder)
        snapshots = Snapshots(workspace, config.total_steps, config.snapshots, save)
        models = ActorCritic(loaded, config)
        # Ranks draw apart where a model drops at random.
        seed_everything(seed + 1_000_003 * ranks.rank())
        checkpoints = Checkpoints(
            workspace,
            models,
            keep=config.keep_checkpoints,
            config_digest=_identity(models, config, len(queries), seed),
        )
        rollouts = Rollouts(models, loaded.scorer, encoder, config, seed)
        run = _Run(models, rollouts, queries, config, log if ranks.is_main() else NullLog(), seed)
        progress = checkpoints.restore()
        if progress is not None:
            run.log.note(f"resuming after step {progress.step} of {config.total_steps}")
        progress = _steps(run, checkpoints, snapshots, progress or Progress())
        _save(models, snapshots.finish)
    return _summary(progress)


def _steps(
    run: _Run, checkpoints: Checkpoints, snapshots: Snapshots, progress: Progress
) -> Progress:
    """Do every step that is left, saving on the way."""
    config, total = run.config, run.config.total_steps
    with StopSignal() as stop:
        while progress.step < total:
            run.step(progress)
            if ranks.from_main(snapshots.is_due(progress.step)):
                _save(run.models, partial(snapshots.keep, progress.step))
            due = progress.step == 1 or progress.step % config.save_every == 0
            # A signal reaches one rank or some; all of them stop at the same step.
            asked = next(filter(None, ranks.gather(stop.requested)), None)
            # After the last step the model itself is saved.
            if asked or (due and progress.step < total):
                checkpoints.save(progress)
            if asked:
                raise TrainingInterrupted(
                    f"stopped by {asked}, state saved at step {progress.step} of {total}: "
                    "resume goes on from there"
                )
    return progress


def _save(models: ActorCritic, keep: Callable[[dict[str, Tensor] | None], Any]) -> None:
    """Save the policy as it is, on the main process, or on none."""
    state = models.of_actor.whole_state()
    ranks.agree(ranks.error_of(lambda: keep(state)) if ranks.is_main() else None)


class _Run:
    """What one training keeps in its hands."""

    def __init__(
        self,
        models: ActorCritic,
        rollouts: Rollouts,
        queries: list[Group],
        config: PpoConfig,
        log: Log,
        seed: int,
    ) -> None:
        self.config, self.models, self.log = config, models, log
        self._rollouts, self._queries = rollouts, queries
        self._learner = Learner(models, config)
        self._order = PromptOrder(len(queries), seed)
        self._curve: dict[str, list[float]] = {}

    def step(self, progress: Progress) -> None:
        """Draw, learn, count the step in ``progress`` and log it."""
        models, config, began = self.models, self.config, time.perf_counter()
        numbers = self._order.take(progress.samples_seen, config.prompts_per_step)
        minibatches = self._rollouts.draw([self._queries[n] for n in numbers], progress.step)
        drawn = time.perf_counter() - began
        experiences = [e for minibatch in minibatches for e in minibatch]
        metrics = assign_credit(experiences, config, models.kl_coef)
        metrics["objective/kl_coef"] = models.kl_coef
        metrics |= self._learner.learn(minibatches, progress.step)
        models.adapt(metrics["objective/kl"], len(numbers) * config.samples)
        progress.step += 1
        progress.samples_seen += len(numbers)
        own = sum(e.tokens for e in experiences if e.counts)
        progress.tokens += (tokens := sum(ranks.gather(own)))
        for name, value in metrics.items():
            progress.totals[name] = progress.totals.get(name, 0.0) + value
            progress.appearances[name] = progress.appearances.get(name, 0) + 1
        seconds = time.perf_counter() - began
        speeds = {
            "speed/rollout_seconds": drawn,
            "speed/step_seconds": seconds,
            "speed/tokens_per_second": tokens / seconds,
        }
        self._draw(metrics | speeds, progress.step)
        self.log.progress(progress.step, config.total_steps, "steps")

    def _draw(self, metrics: dict[str, float], step: int) -> None:
        """Add a step to the training curves: one point for every few steps, their mean."""
        for name, value in metrics.items():
            self._curve.setdefault(name, []).append(value)
        if step in (1, self.config.total_steps) or step % self.config.logging_steps == 0:
            self.log({name: fmean(values) for name, values in self._curve.items()}, step)
            self._curve = {}


def _refuse_other_vocabulary(encoder: Encoder, reference: Path) -> None:
    theirs = vocabulary_of(load_tokenizer(reference), encoder.template)
    if theirs != vocabulary_of(encoder.tokenizer, encoder.template):
        raise ConfigError(
            f"the reference {reference} has another tokenizer than the policy, so the KL between "
            "them is not defined: give a reference with the same vocabulary and template"
        )


def _identity(models: ActorCritic, config: PpoConfig, prompts: int, seed: int) -> str:
    """Digest of what must be equal for a checkpoint to be this training's."""
    parameters = [
        [name, list(getattr(p, "ds_shape", p.shape)), p.requires_grad]
        for name, p in models.module.named_parameters()
    ]
    return sha256_json(
        {
            "config": key_settings(config),
            "prompts": prompts,
            "seed": seed,
            "parameters": parameters,
        }
    )


def _summary(progress: Progress) -> dict[str, float]:
    means = {name: total / progress.appearances[name] for name, total in progress.totals.items()}
    return means | {
        "steps": float(progress.step),
        "prompts_seen": float(progress.samples_seen),
        "response_tokens": float(progress.tokens),
    }
