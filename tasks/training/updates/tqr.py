"""Training a TQR: by AVA on pairs or demonstrations, or by its baselines on the same pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.models.policy import load_policy
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.tqr.group_tqr import GroupTqr, output_shape
from tasks.models.tqr.model_files import start_heads
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.gold_games import APO, gold_games
from tasks.training.data.selection import keep_groups, refuse_large_groups
from tasks.training.data.tqr_groups import TqrEncoder, TqrGroups
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.training.trainable import Trainable, make_ready
from tasks.training.updates.tqr_task import GROUPS, TqrTask


def train_tqr(
    base: Path,
    groups: Sequence[Path],
    apo: Path | None,
    config: TqrUpdateConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Train a TQR and save it, with its tokenizer, as the workspace's output.

    Args:
        base: A policy, which gets fresh heads, or a TQR of the same settings to go on from.
        groups: Folders of groups: demonstrations for ava_d, else scored responses.
        apo: D_APO, if `config.gold` weighs it: groups with gold in column 0 and samples behind it.
        config: Objective, model, weights, optimiser, limits.
        workspace: Of the stage's attempt; its parts make the training resumable.
        log: Receives metrics per step and progress.
        seed: Of heads, of adapters and of the order of the data.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: The model cannot be loaded or read, a group lacks responses or scores, or of
            `apo` and `config.gold` there is one without the other.
        RecordError: A response leaves no place with two actions, or is longer than the limits.
        StageError: There is nothing to learn from, or the training could not go on.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    encoder = TqrEncoder.of(base, config.template, config.limits)
    inputs: dict[str, Path] = {}
    metrics: dict[str, float] = {}
    for name, found in _sources(config, groups, apo).items():
        chosen = TqrGroups(found, config.objective)
        encoded, counts = keep_groups(workspace, name, chosen, encoder)
        chosen.note(log)
        refuse_large_groups(encoded, config.training.micro_batch_tokens)
        inputs[name] = encoded.path
        metrics |= counts
    settings = config.model_dump(mode="json")
    job = TrainingJob(kind="tqr", model=base, config=settings, inputs=inputs, seed=seed)
    return metrics | launch(job, fit, workspace, log)


def fit(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    """Train the TQR of a job on the parts that `train_tqr` kept for it, and save it.

    Raises:
        ConfigError: The model cannot be loaded.
        StageError, TrainingInterrupted: As `train_tqr`.
    """
    config = TqrUpdateConfig.model_validate(job.config)
    encoder = TqrEncoder.of(job.model, config.template, config.limits)

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        return load_policy(job.model, context, dtype="float32")

    trainable = Trainable(load, config.training, job.seed)
    model = trainable.load(log)
    tqr = GroupTqr(model, start_heads(job.model, model, config.model, job.seed))
    metrics = make_ready(tqr, config.training, ordinary_tokens(encoder.tokenizer), log)
    sets = {name: EncodedFolder(path) for name, path in job.inputs.items()}
    task = TqrTask(
        sets,
        config,
        encoder.tokenizer.eos_token_id,
        output_shape(model)[1],
        partial(tqr.batch, pad_id=encoder.pad_id),
        tqr.shared,
    )
    counts = {name: len(groups) for name, groups in sets.items()}
    return metrics | trainable.train(tqr, task, counts, encoder, workspace, log)


def _sources(
    config: TqrUpdateConfig, folders: Sequence[Path], apo: Path | None
) -> dict[str, Iterator[Group]]:
    """Return what is learnt from, by the names of the data sets."""
    if (apo is None) != (config.gold is None):
        given, lacking = ("D_APO", "`gold`") if apo else ("`gold`", "D_APO")
        raise ConfigError(
            f"{config.objective} was given {given} and no {lacking}: gold against samples is "
            "learnt from where there are both, the groups and how they are weighed"
        )
    sources: dict[str, Iterator[Group]] = {
        GROUPS: (group for folder in folders for group in read_groups(folder))
    }
    if apo is not None and config.gold is not None:
        sources[APO] = gold_games(apo, split_samples=config.gold.split_samples)
    return sources
