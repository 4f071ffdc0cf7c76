"""Updating a policy: rjs, rrhf and dpo on scored responses, sft on demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tasks.data.batches import BatchPlan
from tasks.data.files import GroupFolder, read_groups
from tasks.data.groups import Group
from tasks.models.loading import save_model
from tasks.models.policy import load_policy, sequence_logps
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import refuse_other_topology
from tasks.training.config import PolicyConfig
from tasks.training.hardware import training_device, uses_bf16, world_size
from tasks.training.loop import train
from tasks.training.methods.method import Method
from tasks.training.methods.registry import get_method
from tasks.training.reference import reference_logps, step_zero
from tasks.training.samples import Encoder, keep_groups, scores_tensor
from tasks.training.task import MicroBatch, split_rows

_SET = "selected"
_PROBED_GROUPS = 16


@dataclass
class PolicyTask:
    """A policy method on a set of groups."""

    groups: GroupFolder | Sequence[Group]
    """What the method selected."""
    encoder: Encoder
    """The policy's."""
    method: Method
    """The method."""
    coefficients: FrozenConfig
    """Its coefficients."""
    temperature: float
    """Logits are divided by it."""
    micro_batch_size: int
    """Groups per forward pass."""
    reference: Tensor | None = None
    """Log-probabilities under the reference, nats. Shape (N, K)."""

    def micro_batches(self, indices: dict[str, list[int]]) -> Iterable[MicroBatch]:
        """Yield the groups of one optimiser step, a few at a time."""
        for rows in split_rows(indices[_SET], self.micro_batch_size):
            groups = [self.groups[row] for row in rows]
            batch = self.encoder.batch(groups)
            reference = None
            if self.reference is not None:
                reference = self.reference[torch.tensor(rows), : batch.mask.shape[1]]
            ids = tuple(group.id for group in groups)
            yield MicroBatch(_SET, tuple(rows), ids, batch, scores_tensor(groups), reference)

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the mean over the step's groups."""
        tokens = batch.groups
        assert batch.scores is not None, "micro_batches fills it in"
        losses, metrics = self.method.loss(
            sequence_logps(model, tokens, self.temperature),
            batch.reference_logps,
            batch.scores,
            tokens.lengths,
            tokens.mask,
            self.coefficients,
        )
        share = {name: float(value.sum()) / counts[_SET] for name, value in metrics.items()}
        return losses.sum() / counts[_SET], share


def train_policy(
    policy: Path,
    reference: Path | None,
    groups: Sequence[Path],
    config: PolicyConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Update a policy and save it, with its tokenizer, as the workspace's output.

    Args:
        policy: model folder to start from.
        reference: model folder of the reference, for methods that need one.
        groups: folders of scored groups, or of demonstrations for sft.
        config: method, coefficients, optimiser, limits.
        workspace: of the stage's attempt; its parts make the training resumable.
        log: receives metrics per step and progress.
        seed: of the order of the data.

    Returns:
        Means over the training's steps, and counts.

    Raises:
        ConfigError: a model cannot be loaded, or the method lacks its data or its reference.
        StageError: the training could not go on, or policy and reference differ at step 0
            although they are the same model.
        TrainingInterrupted: asked to stop; the state is saved.
    """
    refuse_other_topology(workspace, world_size())
    method, training = get_method(config.method), config.training
    if method.needs_reference and reference is None:
        raise ConfigError(f"{method.name} needs a reference model: give the policy it starts from")
    encoder = Encoder.of(policy, config.template, config.limits)
    selected, metrics = keep_groups(workspace, _SET, _selected(groups, method), encoder)
    logps = None
    if method.needs_reference and reference is not None:
        logps = reference_logps(
            reference,
            selected,
            encoder,
            temperature=config.temperature,
            precision=training.precision,
            micro_batch_size=training.micro_batch_size,
            workspace=workspace,
            log=log,
        )
    model = load_policy(policy, dtype="float32").to(training_device())
    task = PolicyTask(
        selected,
        encoder,
        method,
        config.coefficients,
        config.temperature,
        training.micro_batch_size,
        logps,
    )
    if reference is not None and logps is not None:
        same = policy.resolve() == reference.resolve()
        metrics |= _compare_with_reference(model, task, training.precision, same, log)
    plan = BatchPlan({_SET: len(selected)}, training.batch_size, training.num_train_epochs, seed)
    metrics |= train(
        model, plan=plan, task=task, config=training, workspace=workspace, log=log, seed=seed
    )
    save_model(model, encoder.tokenizer, workspace.output, encoder.template)
    return metrics


def _selected(folders: Sequence[Path], method: Method) -> Iterator[Group]:
    for folder in folders:
        for group in read_groups(folder):
            yield from method.select(group)


def _compare_with_reference(
    model: nn.Module, task: PolicyTask, precision: str, same: bool, log: Log
) -> dict[str, float]:
    """Report how far the start is from the reference; stop if the same model is far from itself."""
    assert task.reference is not None and isinstance(task.groups, GroupFolder)
    kl, worst = step_zero(
        model,
        task.groups,
        task.reference,
        task.encoder,
        temperature=task.temperature,
        precision=precision,
        rows=range(min(_PROBED_GROUPS, task.micro_batch_size, len(task.groups))),
    )
    log({"kl/step_0": kl}, 0)
    # bfloat16 has 8 bits of mantissa, and batches of another shape add up in another order.
    tolerance = 3e-2 if uses_bf16(precision) else 1e-4
    # Written so that a NaN stops as well.
    if same and not worst <= tolerance:
        raise StageError(
            f"the policy is its own reference, yet their log-probabilities differ by {worst:.2g} "
            "of their size at step 0: something changes the model between two passes (dropout, "
            "a layer that was not loaded); check the model folder"
        )
    return {"kl/step_0": kl}
