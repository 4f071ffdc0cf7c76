"""Updating a reward model: Bradley–Terry on human pairs, and APO's objectives with gold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.selection import keep_responses
from tasks.models.groups.group_model import Batch, GroupReward
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.reward_model import build_reward_model, load_reward_model
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.tokenizer import ensure_pad
from tasks.objectives.reward import ranking
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.files import read_json
from tasks.storage.workspace import Workspace
from tasks.training.config import RewardConfig
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.gold_games import APO, gold_games
from tasks.training.data.micro_batches import read_micro_batch
from tasks.training.data.selection import Encoder, keep_groups, refuse_large_groups
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.methods.method import require_scores
from tasks.training.methods.reward_objectives import RewardObjective, get_reward_objective
from tasks.training.task import MicroBatch, TrainingTask
from tasks.training.trainable import Trainable, make_ready

PREFERENCES = "preferences"


@dataclass
class RewardTask(TrainingTask):
    """A reward-model objective on human preferences, gold against samples, or both."""

    sets: Mapping[str, EncodedFolder]
    """``preferences`` (D_P) and ``apo`` (D_APO: gold, which alone scores, in column 0)."""
    objective: RewardObjective
    """The objective."""
    beta_2: float
    """Weight of the preferences against gold."""
    layout: Callable[[Sequence[EncodedGroup]], Batch]
    """Puts groups into the layout that the model takes."""
    shared: bool = True
    """Whether the model computes a prompt once for all its responses."""

    def sizes(self, name: str) -> Sequence[int]:
        """Return how many tokens each group of a set takes of a forward pass."""
        return self.sets[name].sizes(shared=self.shared)

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        """Return some groups of one set with their scores."""
        return read_micro_batch(name, self.sets[name], rows, self.layout)

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the step's loss: each set's own mean, weighed by set."""
        name, mask = batch.data_set, batch.groups.mask
        scores = batch.scores
        assert scores is not None, "micro_batch fills it in"
        values = model(batch.groups)
        loss = self._contribution(name, values, scores, mask, counts)
        accuracy, margin = _pair_means(values.detach(), scores, mask)
        prefix = "" if name == PREFERENCES else f"{name}/"
        metrics = {f"{prefix}accuracy": accuracy, f"{prefix}margin": margin}
        metrics[f"{prefix}mean_reward"] = values.detach().sum(dim=-1) / mask.sum(dim=-1)
        share = {key: float(value.sum()) / counts[name] for key, value in metrics.items()}
        return loss, share | {f"loss/{name}": loss.item()}

    def _contribution(
        self, name: str, values: Tensor, scores: Tensor, mask: Tensor, counts: dict[str, int]
    ) -> Tensor:
        if self.objective.game is None:
            return ranking(values, scores, mask=mask).sum() / counts[name]
        nobody = values.new_zeros(0)
        sets = {
            APO: (values[:, 0], values[:, 1:], nobody, nobody),
            PREFERENCES: (nobody, values.new_zeros(0, 1), values[:, 0], values[:, 1]),
        }
        return self.objective.game(
            *sets[name],
            beta_2=self.beta_2,
            sample_mask=mask[:, 1:] if name == APO else None,
            counts={"queries": counts.get(APO, 0), "pairs": counts.get(PREFERENCES, 0)},
        )


def train_reward_model(
    base: Path,
    preferences: Sequence[Path],
    apo: Path | None,
    config: RewardConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Train a reward model and save it, with its tokenizer, as the workspace's output.

    Args:
        base: A policy, whose backbone gets a scalar head, or a reward model to go on from.
        preferences: D_P: folders of scored groups, in pairs the chosen response first.
        apo: D_APO: a folder of groups with gold in column 0 and samples behind it.
        config: Objective, beta_2, optimiser, limits.
        workspace: Of the stage's attempt; its parts make the training resumable.
        log: Receives metrics per step and progress.
        seed: Of adapters and of the order of the data.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: A model cannot be loaded, a group does not fit, or the objective lacks its
            data or its start.
        StageError: The training could not go on.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    objective, training = get_reward_objective(config.objective), config.training
    encoder = _encoder(base, config)
    _is_reward_model(base, objective)
    inputs: dict[str, Path] = {}
    metrics: dict[str, float] = {}
    for name, groups in _sources(config, preferences, apo).items():
        encoded, counts = keep_groups(workspace, name, groups, encoder)
        refuse_large_groups(encoded, training.micro_batch_tokens)
        inputs[name] = encoded.path
        metrics |= counts
    settings = config.model_dump(mode="json")
    job = TrainingJob(kind="reward", model=base, config=settings, inputs=inputs, seed=seed)
    return metrics | launch(job, fit, workspace, log)


def fit(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    """Train the reward model of a job on the parts that `train_reward_model` kept, and save it.

    Raises:
        ConfigError: The model cannot be loaded.
        StageError, TrainingInterrupted: As `train_reward_model`.
    """
    config = RewardConfig.model_validate(job.config)
    training, objective = config.training, get_reward_objective(config.objective)
    encoder = _encoder(job.model, config)

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        if _is_reward_model(job.model, objective):
            return load_reward_model(job.model, context, dtype="float32")
        return build_reward_model(job.model, encoder.tokenizer, context, dtype="float32")

    trainable = Trainable(load, training, job.seed)
    model = GroupReward(trainable.load(log))
    metrics = make_ready(model, training, ordinary_tokens(encoder.tokenizer), log)
    sets = {name: EncodedFolder(path) for name, path in job.inputs.items()}
    layout = partial(model.batch, pad_id=encoder.pad_id)
    task = RewardTask(sets, objective, config.beta_2, layout, model.shared)
    counts = {name: len(groups) for name, groups in sets.items()}
    return metrics | trainable.train(model, task, counts, encoder, workspace, log)


def _encoder(base: Path, config: RewardConfig) -> Encoder:
    """Return how a reward model reads groups, with a pad of its own."""
    encoder = Encoder.of(base, config.template, config.limits)
    ensure_pad(encoder.tokenizer)
    return encoder


def _is_reward_model(base: Path, objective: RewardObjective) -> bool:
    """Tell whether the start has a trained head; refuse one without where it is needed."""
    names = read_json(base / "config.json").get("architectures") or [""]
    if names[0].endswith("ForSequenceClassification"):
        return True
    if objective.continues:
        raise ConfigError(
            f"{objective.name} goes on from a reward model, and {str(base)!r} is {names[0]}: "
            "give the previous epoch's reward model, or RM_Base in epoch 1"
        )
    return False


def _sources(
    config: RewardConfig, preferences: Sequence[Path], apo: Path | None
) -> dict[str, Iterator[Group]]:
    objective = get_reward_objective(config.objective)
    sources: dict[str, Iterator[Group]] = {}
    if objective.game is not None:
        if apo is None:
            raise ConfigError(
                f"{objective.name} ranks gold responses above samples and was given none: "
                "give D_APO, or use bradley_terry or ab"
            )
        sources[APO] = gold_games(apo, split_samples=config.split_samples)
    if objective.uses_preferences:
        if not preferences:
            raise ConfigError(f"{objective.name} needs human preferences and was given none")
        groups = (group for folder in preferences for group in read_groups(folder))
        sources[PREFERENCES] = _ordered(groups, in_pairs=objective.game is not None)
    return sources


def _ordered(groups: Iterator[Group], *, in_pairs: bool) -> Iterator[Group]:
    """Yield what has an order: groups with unequal scores, or their pairs, better one first."""
    for group in groups:
        scores = require_scores(group, "a reward model", at_least=2)
        size = range(len(scores))
        pairs = [[i, j] for i in size for j in size if scores[i] > scores[j]]
        if in_pairs:
            yield from (keep_responses(group, pair) for pair in pairs)
        elif pairs:
            yield group


def _pair_means(values: Tensor, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return, per group, the share of ordered pairs that are right and their mean margin. (B,).

    A tie, such as all pairs are for a fresh head, is half right.
    """
    real = mask.unsqueeze(2) & mask.unsqueeze(1)
    ordered = real & (scores.unsqueeze(2) > scores.unsqueeze(1))
    margins = values.unsqueeze(2) - values.unsqueeze(1)
    pairs = ordered.sum(dim=(1, 2)).clamp(min=1)
    right = ((margins.sign() + 1) / 2 * ordered).sum(dim=(1, 2)) / pairs
    return right, (margins * ordered).sum(dim=(1, 2)) / pairs
