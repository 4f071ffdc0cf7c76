"""Updating a policy: sft on demonstrations, every other method on scored responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.models.groups.group_model import Batch, GroupPolicy
from tasks.models.policy import load_policy
from tasks.models.precision import uses_bf16
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.micro_batches import read_micro_batch
from tasks.training.data.selection import Encoder, Selection, keep_selection, refuse_large_groups
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.distributed.opening import whole_weights
from tasks.training.methods.method import GroupMethod
from tasks.training.methods.registry import get_group_method
from tasks.training.task import MicroBatch, TrainingTask
from tasks.training.trainable import Trainable, make_ready
from tasks.training.updates.reference_logps import SET, keep_reference, read_reference, step_zero

_REFERENCE = "reference"
_PROBED_GROUPS = 16


@dataclass
class PolicyTask(TrainingTask):
    """A policy method on a set of groups."""

    groups: EncodedFolder
    """What the method selected."""
    method: GroupMethod
    """The method."""
    coefficients: FrozenConfig
    """Its coefficients."""
    layout: Callable[[Sequence[EncodedGroup]], Batch]
    """Puts groups into the layout that the model takes."""
    reference: Tensor | None = None
    """Log-probability of every response under the reference, nats. Shape (R,)."""
    shared: bool = True
    """Whether the model computes a prompt once for all its responses."""

    def sizes(self, name: str) -> Sequence[int]:
        """Return how many tokens each group takes of a forward pass."""
        return self.groups.sizes(shared=self.shared)

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        """Return some groups with their scores and reference log-probabilities."""
        return read_micro_batch(name, self.groups, rows, self.layout, self.reference)

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the mean over the step's groups."""
        assert batch.scores is not None, "micro_batch fills it in"
        losses, metrics = self.method.loss(
            model(batch.groups),
            batch.reference_logps,
            batch.scores,
            batch.groups.lengths,
            batch.groups.mask,
            self.coefficients,
        )
        share = {name: float(value.sum()) / counts[SET] for name, value in metrics.items()}
        return losses.sum() / counts[SET], share


def train_policy(
    policy: Path,
    reference_logps: Path | None,
    groups: Sequence[Path],
    config: PolicyConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
    *,
    digest: str = "",
) -> dict[str, float]:
    """Update a policy and save it, with its tokenizer, as the workspace's output.

    Args:
        policy: Model folder to start from.
        reference_logps: What `compute_logps` wrote, for methods that need a reference.
        groups: Folders of scored groups, or of demonstrations for sft.
        config: Method, coefficients, optimiser, limits.
        workspace: Of the stage's attempt; its parts make the training resumable.
        log: Receives metrics per step and progress.
        seed: Of the order of the data.
        digest: Of the policy's folder; by it the policy is known to be its own reference.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: A model cannot be loaded, a group does not fit, or the method lacks its data
            or its reference.
        StageError: The training could not go on, the reference's log-probabilities are of other
            tokens, or policy and reference differ at step 0 although they are the same model.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    method = get_group_method(config.method)
    if method.needs_reference and reference_logps is None:
        raise ConfigError(
            f"{method.name} needs a reference: give the log-probabilities that "
            "compute_reference_logps made of the policy it starts from"
        )
    encoder = Encoder.of(policy, config.template, config.limits, as_sampled=True)
    selection = Selection(groups, method, config.responses)
    encoded, metrics = keep_selection(workspace, SET, selection, encoder, log)
    refuse_large_groups(encoded, config.training.micro_batch_tokens)
    inputs = {SET: encoded.path}
    if method.needs_reference and reference_logps is not None:
        inputs[_REFERENCE] = keep_reference(
            workspace, reference_logps, encoded, encoder, config, digest
        )
    settings = config.model_dump(mode="json")
    job = TrainingJob(kind="policy", model=policy, config=settings, inputs=inputs, seed=seed)
    return metrics | launch(job, fit, workspace, log)


def fit(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    """Train the policy of a job on the parts that `train_policy` kept for it, and save it.

    Raises:
        ConfigError: The model cannot be loaded.
        StageError, TrainingInterrupted: As `train_policy`.
    """
    config = PolicyConfig.model_validate(job.config)
    encoder = Encoder.of(job.model, config.template, config.limits, as_sampled=True)

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        return load_policy(job.model, context, dtype="float32")

    trainable = Trainable(load, config.training, job.seed)
    policy = GroupPolicy(trainable.load(log), temperature=config.temperature)
    tokens = ordinary_tokens(encoder.tokenizer)
    metrics = make_ready(policy, config.training, tokens, log)
    task = PolicyTask(
        EncodedFolder(job.inputs[SET]),
        get_group_method(config.method),
        config.own_coefficients,
        partial(policy.batch, pad_id=encoder.pad_id),
        shared=policy.shared,
    )
    if _REFERENCE in job.inputs:
        task.reference, is_start = read_reference(job.inputs[_REFERENCE])
        metrics |= _compare_with_reference(policy, task, config, encoder.pad_id, is_start, log)
    counts = {SET: len(task.groups)}
    return metrics | trainable.train(policy, task, counts, encoder, workspace, log)


def _compare_with_reference(
    policy: GroupPolicy,
    task: PolicyTask,
    config: PolicyConfig,
    pad_id: int,
    is_start: bool,
    log: Log,
) -> dict[str, float]:
    """Report how far the start is from the reference; stop if the same model is far from itself."""
    assert task.reference is not None, "asked for where there is one"
    training = config.training
    with whole_weights(policy):
        kl, worst = step_zero(
            policy,
            task.groups,
            task.reference,
            pad_id,
            precision=training.precision,
            rows=range(min(_PROBED_GROUPS, len(task.groups))),
            batch_tokens=training.micro_batch_tokens,
        )
    log({"kl/step_0": kl}, 0)
    # bfloat16 has 8 bits of mantissa, and rows of another length add up in another order.
    tolerance = 3e-2 if uses_bf16(training.precision) else 1e-4
    # Written so that a NaN stops as well.
    if is_start and not worst <= tolerance:
        raise StageError(
            f"the policy is its own reference, yet their log-probabilities differ by {worst:.2g} "
            "of their size at step 0: something changes the model between two passes (dropout, "
            "a layer that was not loaded); check the model folder"
        )
    return {"kl/step_0": kl}
