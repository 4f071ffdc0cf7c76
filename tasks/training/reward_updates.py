"""Updating a reward model: Bradley–Terry on human pairs, and APO's objectives with gold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.data.batches import BatchPlan
from tasks.data.files import GroupFolder, read_groups
from tasks.data.groups import Group
from tasks.models.loading import save_model
from tasks.models.reward_model import build_reward_model, load_reward_model, rewards
from tasks.objectives.reward import ranking
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.files import read_json
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import refuse_other_topology
from tasks.training.config import RewardConfig
from tasks.training.hardware import training_device, world_size
from tasks.training.loop import train
from tasks.training.methods.method import keep_responses, require_scores
from tasks.training.reward_objectives import RewardObjective, get_reward_objective
from tasks.training.samples import Encoder, keep_groups, scores_tensor
from tasks.training.task import MicroBatch, split_rows

PREFERENCES = "preferences"
APO = "apo"


@dataclass
class RewardTask:
    """A reward-model objective on human preferences, gold against samples, or both."""

    sets: Mapping[str, GroupFolder | Sequence[Group]]
    """``preferences`` (D_P) and ``apo`` (D_APO: gold in column 0, samples behind it)."""
    encoder: Encoder
    """The reward model's."""
    objective: RewardObjective
    """The objective."""
    beta_2: float
    """Weight of the preferences against gold."""
    micro_batch_size: int
    """Groups per forward pass."""

    def micro_batches(self, indices: dict[str, list[int]]) -> Iterable[MicroBatch]:
        """Yield the groups of one optimiser step, each piece from one set."""
        for name, rows_of_set in indices.items():
            for rows in split_rows(rows_of_set, self.micro_batch_size):
                groups = [self.sets[name][row] for row in rows]
                ids = tuple(group.id for group in groups)
                batch = self.encoder.batch(groups)
                yield MicroBatch(name, tuple(rows), ids, batch, scores_tensor(groups))

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the step's loss: each set's own mean, weighed by set."""
        name, mask = batch.data_set, batch.groups.mask
        scores = batch.scores
        assert scores is not None, "micro_batches fills it in"
        values = rewards(model, batch.groups)
        loss = self._contribution(name, values, scores, mask, counts)
        if name == APO:
            # Gold is meant to win: it is the only one that scores.
            scores = scores.new_zeros(scores.shape)
            scores[:, 0] = 1
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
        base: a policy, whose backbone gets a scalar head, or a reward model to go on from.
        preferences: D_P: folders of scored groups, in pairs the chosen response first.
        apo: D_APO: a folder of groups with gold in column 0 and samples behind it.
        config: objective, beta_2, optimiser, limits.
        workspace: of the stage's attempt; its parts make the training resumable.
        log: receives metrics per step and progress.
        seed: of the head and of the order of the data.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: a model cannot be loaded, or the objective lacks its data or its start.
        StageError: the training could not go on.
        TrainingInterrupted: asked to stop; the state is saved.
    """
    refuse_other_topology(workspace, world_size())
    objective, training = get_reward_objective(config.objective), config.training
    encoder = Encoder.of(base, config.template, config.limits)
    # Building first: it gives the tokenizer a pad of its own where that is missing.
    model = _starting_model(base, encoder, objective, seed)
    sets: dict[str, GroupFolder] = {}
    metrics: dict[str, float] = {}
    for name, groups in _sources(objective, preferences, apo).items():
        sets[name], counts = keep_groups(workspace, name, groups, encoder)
        metrics |= counts
    task = RewardTask(sets, encoder, objective, config.beta_2, training.micro_batch_size)
    plan = BatchPlan(
        {name: len(groups) for name, groups in sets.items()},
        training.batch_size,
        training.num_train_epochs,
        seed,
    )
    model = model.to(training_device())
    metrics |= train(
        model, plan=plan, task=task, config=training, workspace=workspace, log=log, seed=seed
    )
    save_model(model, encoder.tokenizer, workspace.output, encoder.template)
    return metrics


def _starting_model(
    base: Path, encoder: Encoder, objective: RewardObjective, seed: int
) -> PreTrainedModel:
    names = read_json(base / "config.json").get("architectures") or [""]
    if names[0].endswith("ForSequenceClassification"):
        return load_reward_model(base, dtype="float32")
    if objective.continues:
        raise ConfigError(
            f"{objective.name} goes on from a reward model, and {str(base)!r} is {names[0]}: "
            "give the previous epoch's reward model, or RM_Base in epoch 1"
        )
    return build_reward_model(base, encoder.tokenizer, seed, dtype="float32")


def _sources(
    objective: RewardObjective, preferences: Sequence[Path], apo: Path | None
) -> dict[str, Iterator[Group]]:
    sources: dict[str, Iterator[Group]] = {}
    if objective.game is not None:
        if apo is None:
            raise ConfigError(
                f"{objective.name} ranks gold responses above samples and was given none: "
                "give D_APO, or use bradley_terry or ab"
            )
        sources[APO] = (group for group in read_groups(apo) if len(group.responses) > 1)
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
    """Return, per group, the share of ordered pairs that are right and their mean margin. (B,)."""
    real = mask.unsqueeze(2) & mask.unsqueeze(1)
    ordered = real & (scores.unsqueeze(2) > scores.unsqueeze(1))
    margins = values.unsqueeze(2) - values.unsqueeze(1)
    pairs = ordered.sum(dim=(1, 2)).clamp(min=1)
    right = (ordered & (margins > 0)).sum(dim=(1, 2)) / pairs
    return right, (margins * ordered).sum(dim=(1, 2)) / pairs
