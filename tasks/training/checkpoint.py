"""Checkpoints of a training: each one is a complete, verified part of the stage's workspace.

Inside a part `step-00000120`:

    model-00000.safetensors …      what the training changes: parameters and persistent buffers
    optimizer-00000.safetensors …  AdamW's moments, by parameter name
    rng-00000.safetensors …        each rank's random streams: torch, CUDA, python and numpy
    state.json                     cursor, samples seen, topology, whose checkpoint it is

With DeepSpeed the first two are a folder `zero/` of its own files instead. Those are pickles, so
they are read only after every byte has been compared with the digests in the part's file; there is
no pickle anywhere else. The learning rate is a function of the step, so the scheduler has no state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file, save
from torch import nn

from tasks.settings.errors import StageError
from tasks.storage.files import free_bytes, read_json, write_atomic, write_json
from tasks.storage.parts import part_damage
from tasks.storage.workspace import Workspace
from tasks.training.distributed import ranks
from tasks.training.random_state import capture_streams, restore_streams

FORMAT = 2
PREFIX = "step-"
_log = logging.getLogger("sparring.training")


@dataclass
class Progress:
    """How far a training is; all of it is in every checkpoint."""

    step: int = 0
    """Optimiser steps done: the data cursor."""
    samples_seen: int = 0
    """Groups that went into those steps."""
    tokens: int = 0
    """Real tokens that went through the model, each prompt once."""
    totals: dict[str, float] = field(default_factory=dict)
    """Sum of each metric over the steps that had it."""
    appearances: dict[str, int] = field(default_factory=dict)
    """How many steps had each metric: a small data set is not in every step."""


class Trained(Protocol):
    """What a checkpoint holds: an `Engine`, or the two of actor and critic."""

    zero_stage: int
    """Which of DeepSpeed's ZeRO stages this is; 0: none."""

    @property
    def module(self) -> nn.Module:
        """Whatever is trained, with all its parameters."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write this rank's share of the state; return what reads it back, as JSON."""

    def load(self, folder: Path, written: Mapping[str, Any]) -> None:
        """Put back what `save` wrote, given what it returned."""


def checkpoint_names(workspace: Workspace) -> list[str]:
    """Return the complete checkpoints of a workspace, oldest first."""
    return sorted(name for name in workspace.part_names() if name.startswith(PREFIX))


def refuse_other_topology(workspace: Workspace, processes: int, zero_stage: int) -> None:
    """Stop if the newest checkpoint was written by other processes than will read it.

    Reads one small file, so that it can be asked before any model is loaded.

    Raises:
        StageError: Names both and the remedies.
    """
    names = checkpoint_names(workspace)
    if names:
        folder = _part(workspace, names[-1])
        _check_topology(folder, _read_state(folder), processes, zero_stage)


class Checkpoints:
    """Writes, finds and thins out the checkpoints of one training; all ranks call each method."""

    def __init__(
        self, workspace: Workspace, engine: Trained, *, keep: int, config_digest: str
    ) -> None:
        """Set where checkpoints go, how many of the newest stay, and whose settings they are of."""
        self.workspace, self.engine = workspace, engine
        self.keep, self.config_digest = keep, config_digest

    def save(self, progress: Progress) -> None:
        """Write one checkpoint, see that it is whole, then drop the oldest beyond ``keep``.

        Raises:
            StageError: There is not enough free space, or what was written cannot be read back.
        """
        self._require_space(self.engine.module)
        name = f"{PREFIX}{progress.step:08d}"

        def write(folder: Path) -> None:
            written = self.engine.save(folder)
            streams = save(capture_streams())
            write_atomic(folder / _streams_file(), streams)
            if ranks.is_main():
                topology = {"processes": ranks.world_size(), "zero_stage": self.engine.zero_stage}
                state = {
                    "format": FORMAT,
                    "progress": asdict(progress),
                    "topology": topology,
                    "config": self.config_digest,
                    "written": written,
                }
                write_json(folder / "state.json", state)

        ranks.save_part_together(self.workspace, name, write)
        if ranks.is_main():
            self._thin_out(name)

    def restore(self) -> Progress | None:
        """Put the newest checkpoint into the model, the optimiser and the random streams.

        Returns:
            How far that training was, or None where there is no checkpoint.

        Raises:
            StageError: The checkpoint is another training's, or lacks something without which the
                result would differ from an uninterrupted training.
        """
        name = ranks.from_main(self._newest() if ranks.is_main() else None)
        if name is None:
            return None
        folder = self.workspace.parts / name
        state = _read_state(folder)
        _check_topology(folder, state, ranks.world_size(), self.engine.zero_stage)
        if state["config"] != self.config_digest:
            raise StageError(
                f"checkpoint {name} belongs to another training (its model, data, config or seed "
                f"differ): remove {folder.parent} to start this one afresh"
            )
        try:
            self.engine.load(folder, state["written"])
            restore_streams(load_file(folder / _streams_file()))
        except (FileNotFoundError, KeyError) as error:
            raise _inexact(name, str(error)) from error
        return Progress(**state["progress"])

    def _newest(self) -> str | None:
        for name in reversed(checkpoint_names(self.workspace)):
            # Only DeepSpeed's files could do harm; the others were compared when an attempt
            # adopted them.
            proof = self.engine.zero_stage > 0
            problem = part_damage(self.workspace.parts, name, deep=True) if proof else ""
            if not problem:
                return name
            _log.warning("checkpoint %s is left aside: %s", name, problem)
        return None

    def _thin_out(self, newest: str) -> None:
        if self.workspace.part(newest) is None:
            raise StageError(
                f"checkpoint {newest} reads back incomplete; earlier ones are kept. Check the disk "
                f"of {self.workspace.path}"
            )
        for old in checkpoint_names(self.workspace)[: -self.keep]:
            self.workspace.drop_part(old)

    def _require_space(self, model: nn.Module) -> None:
        problem = None
        if ranks.is_main():
            # Two moments in the parameter's own precision beside every parameter that is trained.
            trained = [p for p in model.parameters() if p.requires_grad]
            numbers = sum(getattr(p, "ds_numel", p.numel()) * p.element_size() for p in trained)
            needed, free = 3 * numbers + (1 << 20), free_bytes(self.workspace.path)
            if free < needed:
                problem = StageError(
                    f"a checkpoint needs {needed / 1e9:.2f} GB and the disk of "
                    f"{self.workspace.path} has {free / 1e9:.2f} GB left: free some space or move "
                    "SPARRING_HOME, then resume"
                )
        ranks.agree(problem)


def _streams_file() -> str:
    return f"rng-{ranks.rank():05d}.safetensors"


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
    for key in ("progress", "topology", "config", "written"):
        if key not in state:
            raise _inexact(folder.name, f"{key!r} in state.json")
    return dict(state)


def _inexact(name: str, what: str) -> StageError:
    return StageError(
        f"checkpoint {name} lacks {what}: resuming would not reproduce the training; remove "
        "this checkpoint to resume from an earlier one or start afresh"
    )


def _check_topology(
    folder: Path, state: Mapping[str, Any], processes: int, zero_stage: int
) -> None:
    written = (state["topology"]["processes"], state["topology"]["zero_stage"])
    if written == (processes, zero_stage):
        return
    raise StageError(
        f"checkpoint {folder.name} was written by {_topology(*written)} and this run has "
        f"{_topology(processes, zero_stage)}: resume with {_topology(*written)}, or start a new "
        f"stage from its weights (weights only: a fresh optimiser){_weights_of(folder, written[1])}"
    )


def _topology(processes: int, zero_stage: int) -> str:
    zero = f"DeepSpeed's ZeRO-{zero_stage}" if zero_stage else "no DeepSpeed"
    return f"{processes} processes with {zero}"


def _weights_of(folder: Path, zero_stage: int) -> str:
    """Say how weights, or all of it, come out of a checkpoint."""
    if not zero_stage:
        return f", which are {folder}/model-*.safetensors"
    return (
        f": python -m deepspeed.utils.zero_to_fp32 --tag zero {folder} WEIGHTS; with the "
        "optimiser, for DeepSpeed's own tools: python -m deepspeed.checkpoint.ds_to_universal "
        f"--inject_missing_state --input_folder {folder}/zero --output_folder UNIVERSAL"
    )
