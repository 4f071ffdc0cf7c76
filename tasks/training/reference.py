"""Log-probabilities under the reference model: computed once, kept as parts, then it is gone."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import pad

from tasks.data.files import GroupFolder
from tasks.models.policy import load_policy, sequence_logps
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.files import write_atomic
from tasks.storage.workspace import Workspace
from tasks.training.hardware import arithmetic_of, training_device
from tasks.training.samples import Encoder

_SHARD = 2048
_FILE = "logps.safetensors"


def reference_logps(
    reference: Path,
    groups: GroupFolder,
    encoder: Encoder,
    *,
    temperature: float,
    precision: str,
    micro_batch_size: int,
    workspace: Workspace,
    log: Log,
) -> Tensor:
    """Return the log-probability of every response under the reference model.

    Shards of 2,048 groups are kept as parts, so an interrupted pass goes on where it was, and a
    resumed training uses the very same numbers.

    Args:
        reference: its model folder. It reads the tokens of the policy's tokenizer.
        groups: N groups of at most K responses.
        encoder: the policy's.
        temperature: logits are divided by it.
        precision: the training's, because only equal arithmetic makes log-ratios comparable.
        micro_batch_size: groups per forward pass.
        workspace: of the stage's attempt.
        log: receives progress.

    Returns:
        Nats, 0 in empty slots. Shape (N, K), float32, on the CPU.

    Raises:
        ConfigError: the reference cannot be loaded or has a smaller vocabulary than the policy.
    """
    starts = range(0, len(groups), _SHARD)
    names = [f"reference-{index:05d}" for index in range(len(starts))]
    model: nn.Module | None = None
    for name, start in zip(names, starts, strict=True):
        rows = range(start, min(start + _SHARD, len(groups)))
        if workspace.part(name) is None:
            model = model or _load(reference, encoder)
            with torch.no_grad(), arithmetic_of(precision):
                pieces = [
                    _logps(model, groups, rows[at : at + micro_batch_size], encoder, temperature)
                    for at in range(0, len(rows), micro_batch_size)
                ]
            _keep(workspace, name, _stack(pieces))
        log.progress(rows.stop, len(groups), "reference groups")
    return _stack([load_file(workspace.parts / name / _FILE)["logps"] for name in names])


def step_zero(
    policy: nn.Module,
    groups: GroupFolder,
    reference: Tensor,
    encoder: Encoder,
    *,
    temperature: float,
    precision: str,
    rows: range,
) -> tuple[float, float]:
    """Compare policy and reference on a few groups before the first step.

    Args:
        policy: the starting policy, in eval mode.
        groups: N groups.
        reference: the whole of ``reference_logps``. Shape (N, K).
        encoder: the policy's.
        temperature: logits are divided by it.
        precision: the training's.
        rows: which groups to compare.

    Returns:
        The mean log-ratio in nats, which estimates KL(policy || reference) where the reference
        wrote the responses, and the largest difference relative to the log-probability.
    """
    with torch.no_grad(), arithmetic_of(precision):
        ours = _logps(policy, groups, rows, encoder, temperature)
    theirs = reference[rows.start : rows.stop, : ours.shape[1]]
    ratio = ours - theirs
    real = max(1, int((ours != 0).sum()))
    worst = (ratio.abs() / theirs.abs().clamp(min=1)).max()
    return float(ratio.sum() / real), float(worst)


def _load(reference: Path, encoder: Encoder) -> nn.Module:
    model = load_policy(reference, dtype="float32").to(training_device())
    known = model.get_input_embeddings().num_embeddings
    if known < len(encoder.tokenizer):
        raise ConfigError(
            f"the reference {str(reference)!r} knows {known} tokens and the policy's tokenizer "
            f"has {len(encoder.tokenizer)}: take a reference with the policy's tokenizer"
        )
    return model


def _keep(workspace: Workspace, name: str, logps: Tensor) -> None:
    data = save({"logps": logps})
    workspace.save_part(name, lambda folder: write_atomic(folder / _FILE, data))


def _logps(
    model: nn.Module, groups: GroupFolder, rows: range, encoder: Encoder, temperature: float
) -> Tensor:
    batch = encoder.batch([groups[row] for row in rows]).to(training_device())
    return sequence_logps(model, batch, temperature).float().cpu()


def _stack(pieces: list[Tensor]) -> Tensor:
    width = max(piece.shape[1] for piece in pieces)
    return torch.cat([pad(piece, (0, width - piece.shape[1])) for piece in pieces])
