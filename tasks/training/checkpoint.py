"""Checkpoints of a training: each one is a complete, verified part of the stage's workspace.

Inside a part `step-00000120`:

    model-00000.safetensors …      every parameter and persistent buffer, once
    optimizer-00000.safetensors …  AdamW's moments, by parameter name
    rng.safetensors                the random streams of torch, CUDA, python and numpy
    state.json                     cursor, samples seen, topology, whose checkpoint it is

No pickle anywhere. The learning rate is a function of the step, so the scheduler has no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tasks.settings.errors import StageError
from tasks.storage.files import free_bytes, read_json, write_atomic, write_json
from tasks.storage.workspace import Workspace
from tasks.training.optimiser import load_optimiser_tensors, optimiser_tensors
from tasks.training.randomness import capture_streams, restore_streams

FORMAT = 1
PREFIX = "step-"
_FILE_BYTES = 1 << 30


@dataclass
class Progress:
    """How far a training is; all of it is in every checkpoint."""

    step: int = 0
    """Optimiser steps done: the data cursor."""
    samples_seen: int = 0
    """Groups that went into those steps."""
    tokens: int = 0
    """Real tokens that went through the model, prompts included."""
    totals: dict[str, float] = field(default_factory=dict)
    """Sum of each metric over the steps that had it."""
    appearances: dict[str, int] = field(default_factory=dict)
    """How many steps had each metric: a small data set is not in every step."""


def checkpoint_names(workspace: Workspace) -> list[str]:
    """Return the complete checkpoints of a workspace, oldest first."""
    return sorted(name for name in workspace.part_names() if name.startswith(PREFIX))


def refuse_other_topology(workspace: Workspace, world_size: int) -> None:
    """Stop if the newest checkpoint was written by another number of processes.

    Reads one small file, so that it can be asked before any model is loaded.

    Raises:
        StageError: names both numbers and the remedy.
    """
    names = checkpoint_names(workspace)
    if names:
        _check_world_size(names[-1], _read_state(_part(workspace, names[-1])), world_size)


class Checkpoints:
    """Writes, finds and thins out the checkpoints of one training."""

    def __init__(
        self, workspace: Workspace, *, keep: int, world_size: int, config_digest: str
    ) -> None:
        """Set where checkpoints go and whose they are.

        Args:
            workspace: of the stage's attempt.
            keep: how many of the newest stay.
            world_size: processes that train together.
            config_digest: of everything that decides the training's result.
        """
        self.workspace, self.keep = workspace, keep
        self.world_size, self.config_digest = world_size, config_digest

    def save(
        self,
        progress: Progress,
        model: nn.Module,
        optimiser_state: Mapping[nn.Parameter, Mapping[str, Tensor]],
    ) -> None:
        """Write one checkpoint, see that it is whole, then drop the oldest beyond ``keep``.

        Raises:
            StageError: there is not enough free space, or what was written cannot be read back.
        """
        self._require_space(model)
        name = f"{PREFIX}{progress.step:08d}"

        def write(folder: Path) -> None:
            state = {
                "format": FORMAT,
                "progress": asdict(progress),
                "topology": {"world_size": self.world_size},
                "config": self.config_digest,
                "model": _write_tensors(folder, "model", _model_tensors(model)),
                "optimizer": _write_tensors(
                    folder, "optimizer", optimiser_tensors(model, optimiser_state)
                ),
            }
            write_atomic(folder / "rng.safetensors", save(capture_streams()))
            write_json(folder / "state.json", state)

        self.workspace.save_part(name, write)
        if self.workspace.part(name) is None:
            raise StageError(
                f"checkpoint {name} reads back incomplete; earlier ones are kept. Check the disk "
                f"of {self.workspace.path}"
            )
        for old in checkpoint_names(self.workspace)[: -self.keep]:
            self.workspace.drop_part(old)

    def restore(
        self, model: nn.Module, optimiser_state: dict[nn.Parameter, dict[str, Tensor]]
    ) -> Progress | None:
        """Put the newest checkpoint into the model, the optimiser and the random streams.

        Returns:
            How far that training was, or None where there is no checkpoint.

        Raises:
            StageError: the checkpoint is another training's, or lacks something without which the
                result would differ from an uninterrupted training.
        """
        names = checkpoint_names(self.workspace)
        if not names:
            return None
        name = names[-1]
        folder = _part(self.workspace, name)
        state = _read_state(folder)
        _check_world_size(name, state, self.world_size)
        if state["config"] != self.config_digest:
            raise StageError(
                f"checkpoint {name} belongs to another training (its model, data, config or seed "
                f"differ): remove {folder.parent} to start this one afresh"
            )
        _load_model(model, _read_tensors(folder, state["model"]))
        load_optimiser_tensors(model, optimiser_state, _read_tensors(folder, state["optimizer"]))
        try:
            restore_streams(load_file(folder / "rng.safetensors"))
        except (FileNotFoundError, KeyError) as error:
            raise _inexact(name, f"its random state ({error})") from error
        return Progress(**state["progress"])

    def _require_space(self, model: nn.Module) -> None:
        # Two moments in the parameter's own precision beside every parameter.
        needed = 3 * sum(p.numel() * p.element_size() for p in model.parameters()) + (1 << 20)
        free = free_bytes(self.workspace.path)
        if free < needed:
            raise StageError(
                f"a checkpoint needs {needed / 1e9:.2f} GB and the disk of {self.workspace.path} "
                f"has {free / 1e9:.2f} GB left: free some space or move SPARRING_HOME, then resume"
            )


def _part(workspace: Workspace, name: str) -> Path:
    folder = workspace.part(name)
    assert folder is not None, "part_names lists complete parts only"
    return folder


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = read_json(folder / "state.json")
    except FileNotFoundError as error:
        raise _inexact(folder.name, "its data cursor (state.json)") from error
    if state.get("format") != FORMAT:
        raise StageError(
            f"checkpoint {folder.name} has format {state.get('format')}, this version reads "
            f"{FORMAT}: finish it with the version that began it, or remove {folder.parent}"
        )
    for key in ("progress", "topology", "config", "model", "optimizer"):
        if key not in state:
            raise _inexact(folder.name, f"{key!r} in state.json")
    return state


def _inexact(name: str, what: str) -> StageError:
    return StageError(
        f"checkpoint {name} lacks {what}: resuming would not reproduce the training; remove "
        "this checkpoint to resume from an earlier one or start afresh"
    )


def _check_world_size(name: str, state: Mapping[str, Any], world_size: int) -> None:
    written = state["topology"]["world_size"]
    if written != world_size:
        raise StageError(
            f"checkpoint {name} was written by {written} processes and this run has {world_size}: "
            f"resume with {written}, or save the weights as a model folder and start a new stage "
            "from it (weights only: a fresh optimiser)"
        )


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and persistent buffer once; tied weights have one name here."""
    kept = model.state_dict(keep_vars=True)
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    tensors |= {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return {name: tensor.detach() for name, tensor in tensors.items()}


@torch.no_grad()
def _load_model(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    tensors = _model_tensors(model)
    assert tensors.keys() == saved.keys(), "the config digest covers the model's parameters"
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def _write_tensors(folder: Path, stem: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """Write tensors into files of about a gigabyte, so that memory holds one such copy."""
    names: list[str] = []
    for chunk in _chunks(tensors):
        names.append(f"{stem}-{len(names):05d}.safetensors")
        write_atomic(folder / names[-1], save(chunk))
    return names


def _chunks(tensors: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    chunk: dict[str, Tensor] = {}
    held = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if chunk and held + size > _FILE_BYTES:
            yield chunk
            chunk, held = {}, 0
        chunk[name] = tensor.contiguous()
        held += size
    if chunk:
        yield chunk


def _read_tensors(folder: Path, names: list[str]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise _inexact(folder.name, name)
        tensors |= load_file(folder / name)
    return tensors
