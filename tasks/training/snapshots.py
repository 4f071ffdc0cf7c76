"""States of a training on its way, kept as models: for reward against step, and for the frontier.

A training with n snapshots leaves n model folders at even distances: `snapshots/1` to
`snapshots/n-1` in its output, and the output itself. Each says in `snapshot.json` which step it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from tasks.settings.errors import ConfigError
from tasks.storage.files import link_or_copy, write_json
from tasks.storage.workspace import Workspace

FOLDER = "snapshots"
_MARK = "snapshot.json"

Save = Callable[[dict[str, Tensor] | None, Path], None]
"""Writes a model folder: from weights by name, or from the model in training where there are none.
It changes neither that model nor any random stream."""


class Snapshots:
    """Keeps the snapshots of one training; a kept one is a part, so that a kill takes none."""

    def __init__(self, workspace: Workspace, steps: int, count: int, save: Save) -> None:
        """Say which steps are kept.

        Raises:
            ConfigError: There are fewer steps than snapshots.
        """
        if count > steps:
            raise ConfigError(
                f"snapshots is {count}, and this training has {steps} steps: ask for at most "
                f"{steps}"
            )
        self._workspace, self._steps, self._save = workspace, steps, save
        self._numbers = {round(steps * number / count): number for number in range(1, count)}

    def is_due(self, step: int) -> bool:
        """Whether the state after so many steps is kept and is not there yet."""
        number = self._numbers.get(step)
        return number is not None and self._workspace.part(f"snapshot-{number}") is None

    def keep(self, step: int, state: dict[str, Tensor] | None) -> None:
        """Keep the state after a step that is due; the weights are as `Save` takes them."""

        def write(folder: Path) -> None:
            self._write(step, state, folder)

        self._workspace.save_part(f"snapshot-{self._numbers[step]}", write)

    def finish(self, state: dict[str, Tensor] | None) -> None:
        """Write the last state (as `keep` takes it) and all snapshots as the workspace's output."""
        output = self._workspace.output
        self._write(self._steps, state, output)
        for number in self._numbers.values():
            part = self._workspace.part(f"snapshot-{number}")
            assert part is not None, "every step was done, so every snapshot was kept"
            link_or_copy(part, output / FOLDER / str(number))

    def _write(self, step: int, state: dict[str, Tensor] | None, folder: Path) -> None:
        self._save(state, folder)
        write_json(folder / _MARK, {"step": step, "steps": self._steps})
