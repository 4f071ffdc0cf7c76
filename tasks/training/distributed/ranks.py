"""The processes that train together, called ranks: who is who, and what they must agree on.

Every function is a collective: all ranks call it, in the same order. One process alone is the
case of one rank, without any communication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import distributed

from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace

Value = TypeVar("Value")


class OtherRankError(StageError):
    """Another rank has an error, which that one raises itself."""


def rank() -> int:
    """Return this process's number, from 0, which is the main one."""
    return distributed.get_rank() if _together() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _together() else 1


def is_main() -> bool:
    """Return whether this process logs, commits and saves."""
    return rank() == 0


def gather(value: Value) -> list[Value]:
    """Return every rank's value, by rank, on all of them; plain values only."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def summed(values: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of all ranks' values by name, in the order in which the names appear."""
    sums: dict[str, float] = {}
    for share in gather(dict(values)):
        for name, value in share.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def from_main(value: Value) -> Value:
    """Return the main process's value on all ranks."""
    return gather(value if is_main() else None)[0]  # type: ignore[return-value]


def agree(error: Exception | None) -> None:
    """Go on only if no rank has an error.

    Raises:
        Exception: This rank's own error.
        OtherRankError: What another rank said, where this one had none.
    """
    said = gather(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for number, sentence in enumerate(said):
        if sentence is not None:
            raise OtherRankError(f"process {number} of {len(said)} could not go on: {sentence}")


def error_of(action: Callable[[], Any]) -> Exception | None:
    """Do something that other ranks wait for, and return the error it raised, for ``agree``."""
    try:
        action()
    except Exception as error:
        return error
    return None


def save_part_together(workspace: Workspace, name: str, write: Callable[[Path], None]) -> None:
    """Keep one part into which every rank writes its files; the main process commits it.

    The workspace is the same folder for all ranks, on a disk that they share.

    Raises:
        Exception: On all ranks, when one of them failed; no trace of the part remains then.
    """
    begun = False

    def write_all(folder: Path) -> None:
        nonlocal begun
        begun = True
        from_main(folder)
        agree(error_of(lambda: write(folder)))

    if is_main():
        error = error_of(lambda: workspace.save_part(name, write_all))
        if not begun:
            from_main(None)
    else:
        folder = from_main(None)
        error = None
        if folder is not None:
            error = error_of(lambda: agree(error_of(lambda: write(folder))))
    agree(error)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
