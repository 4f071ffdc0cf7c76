"""The worlds that are tortured: a small run of each flow, made once, copied for each trial.

They are kept from one use to the next, by a digest of the source that made them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.stages.manifest import artifact_folder, manifest_path
from tests.databases import Databases
from tests.flows.command import SMALL, Shell, sets
from tests.torture.commands import run
from tests.torture.inside import OUTSIDE, kind_of, word_of

ROOT = Path(__file__).resolve().parents[2]
_CONFIGS = SMALL.parent
_ARMS = "[{objective: [ava_p, bradley_terry]}, {objective: [ava_p, sft], pipeline: direct}]"
_BRANCHES = "[{method: exo_pref}, {method: ppo}, {method: best_of_n, responses: [2, 4]}]"
# Side by side is for processes of their own; here each operation is to be in this one.
_ALONE = "placement.side_by_side=1"
WORDS = {
    "apo": ("run", "apo", "-c", str(SMALL)),
    "exo": ("run", "exo", "-c", str(_CONFIGS / "exo-small.yaml"),
            *sets(f"branches={_BRANCHES}", _ALONE)),
    "ava": ("run", "ava", "-c", str(_CONFIGS / "ava-small.yaml"),
            *sets(f"arms={_ARMS}", "ppo=null", _ALONE)),
}  # fmt: skip
"""The command of each flow's small run."""


@dataclass(frozen=True)
class World:
    """A run that nobody disturbed."""

    flow: str
    """The flow."""
    shell: Shell
    """Where it lies; never written to again."""
    keys: dict[str, str]
    """Digest of every output by STAGE/KEY."""
    operations: dict[str, list[str]]
    """Durable operations by STAGE/KEY in their order, and of the rest when all is done before."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command that made it."""
        return WORDS[self.flow]

    @property
    def stages(self) -> list[str]:
        """Every kind of stage, and OUTSIDE."""
        return sorted({call.partition("/")[0] for call in self.operations})

    def calls(self, stage: str) -> list[str]:
        """Return the calls of a stage, as STAGE/KEY."""
        return sorted(call for call in self.operations if call.partition("/")[0] == stage)

    def grid(self) -> list[tuple[str, str, str]]:
        """Return every action, kind of operation and kind of stage that come together."""
        pairs = {
            (call.partition("/")[0], word_of(name))
            for call, names in self.operations.items()
            for name in names
        }
        found = [(act, stage, word) for act in ("kill", "enospc") for stage, word in sorted(pairs)]
        # In an order of their own, so that a part of them is a fair one.
        return random.Random(self.flow).sample(found, len(found))

    def count(self, call: str, kind: str) -> int:
        """Return how many operations of a kind a call makes."""
        return sum(kind in (kind_of(name), word_of(name)) for name in self.operations[call])

    def copy(self, folder: Path) -> Shell:
        """Return a copy in a new folder; its commands use the same Prefect server."""
        shutil.copytree(self.shell.folder, folder, symlinks=True)
        return Shell(folder, variables=self.shell.variables)


def forget(shell: Shell, call: str, *, whole: bool) -> None:
    """Have a stage run again: without its manifest, or without its output too, if `whole`."""
    stage, _, key = call.partition("/")
    manifest_path(shell.home, stage, key).unlink()
    if whole:
        folder = artifact_folder(shell.home, stage, key)
        shutil.rmtree(folder)
        folder.with_name(f"{folder.name}.dvc").unlink(missing_ok=True)


def source_digest() -> str:
    """Return a digest of all that a world rests on."""
    tops = ("flows", "tasks", "tests/flows/configs")
    files = sorted(path for top in tops for path in (ROOT / top).rglob("*.*") if path.is_file())
    sha = hashlib.sha256(Path(__file__).read_bytes())
    for path in files:
        if path.suffix in (".py", ".yaml", ".j2", ".css", ".js"):
            sha.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return sha.hexdigest()[:12]


class Worlds:
    """Makes worlds when they are asked for."""

    def __init__(self, folder: Path, databases: Databases, prefect: str, prefect_db: Path) -> None:
        """Keep them in `folder`; `prefect` is the address of the server they all use."""
        self._folder, self._databases = folder, databases
        self._variables = {"PREFECT_API_URL": prefect}
        self._made: dict[str, World] = {}
        self.prefect_db = prefect_db
        self.scratch = folder / f"trials-{os.getpid()}"

    def world(self, flow: str) -> World:
        """Return a flow's world; to make it takes a minute."""
        if flow not in self._made:
            folder = self._folder / f"{flow}-{source_digest()}"
            if not folder.exists():
                for old in self._folder.glob(f"{flow}-*"):
                    shutil.rmtree(old)
                self._make(flow, folder)
            told = json.loads((folder / "world.json").read_text(encoding="utf-8"))
            shell = Shell(folder / "world", variables=self._variables)
            self._made[flow] = World(flow, shell, told["keys"], told["operations"])
        return self._made[flow]

    def adopt(self, world: World) -> None:
        """Take a world that somebody else made."""
        self._made[world.flow] = world

    @contextmanager
    def trial(self, world: World, name: str = "copy") -> Iterator[Shell]:
        """Lend a copy, which is removed afterwards."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield world.copy(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove what trials left."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _make(self, flow: str, folder: Path) -> None:
        making = folder.with_name(f"making-{flow}-{os.getpid()}")
        shell = Shell(making / "world", variables=self._variables)
        self._databases.copy("mlflow", shell.folder / "mlruns")
        # Nobody uses this one but a trial that damages it.
        self._databases.copy("prefect", shell.home.prefect)
        first = recorded(shell, flow, making / "first.txt")
        # All but the last stage done: the moves of a run's beginning and end, as in a trial.
        last = [call for call in first if call != OUTSIDE][-1]
        forget(shell, last, whole=False)
        again = recorded(shell, flow, making / "again.txt")
        told: dict[str, Any] = {
            "keys": shell.finished_keys(),
            "operations": {**first, OUTSIDE: again[OUTSIDE]},
        }
        (making / "world.json").write_text(json.dumps(told), encoding="utf-8")
        making.rename(folder)


def recorded(shell: Shell, flow: str, path: Path) -> dict[str, list[str]]:
    """Run a flow and return its durable operations by call."""
    done = run(shell, *WORDS[flow], wish={"record": str(path)})
    assert done.code == 0, f"the {flow} run that nobody disturbs ended with {done.code}:{done.text}"
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        call, _, name = line.partition("\t")
        found.setdefault(call, []).append(name)
    return found


def summary(world: World) -> str:
    """Return how large a world is, for people."""
    total = Counter(word_of(name) for names in world.operations.values() for name in names)
    return (
        f"{world.flow}: {len(world.keys)} outputs, {sum(total.values())} durable operations in "
        f"{len(world.stages)} kinds of stage, {len(world.grid())} cells of the grid"
    )
