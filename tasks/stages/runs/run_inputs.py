"""Which files of the user's a run was begun with, so that one that is gone on with can say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.stages.runs.run_store import run_folder
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.sealed import read_sealed, write_sealed


def save_inputs(home: Home, run_id: str, digests: Mapping[str, str]) -> None:
    """Write down the digest of each file and folder of the user's that a run reads, by path."""
    write_sealed(_file(home, run_id), dict(digests))


def input_changes(home: Home, run_id: str, digests: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file that is not what it was when a run was begun or resumed last.

    Args:
        home: The home that holds the run.
        run_id: The run that is to be gone on with.
        digests: What the files are now, as for `save_inputs`.
    """
    path = _file(home, run_id)
    try:
        then = read_sealed(path)
    except FileNotFoundError:
        then = dict(digests)
    except CorruptError as error:
        yield f"whether its inputs have changed cannot be known: {error}"
        then = dict(digests)
    for name in sorted({**then, **digests}):
        if name not in then or name not in digests:
            happened = "came to" if name in digests else "left"
            yield f"{name} {happened} the inputs of this run"
        elif then[name] != digests[name]:
            yield f"{name} has changed since this run began: what was made from it is made anew"


def _file(home: Home, run_id: str) -> Path:
    return run_folder(home, run_id) / "inputs.json"
