"""The verbs that a user may type next, and what they say of a sound world."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.stages.manifest import list_manifests
from tests.flows.command import Shell, sets
from tests.torture.commands import Outcome, run
from tests.torture.worlds import World, Worlds

VERIFIED = "run --verify"
Said = tuple[int, list[str], dict[str, bytes]]
"""Exit code, lines, and exported files."""


class Verb(NamedTuple):
    """A command."""

    words: Callable[[World], tuple[str, ...]]
    """What is typed."""
    reads: bool = True
    """Whether it only shows, so that all it prints can be compared."""


def _plain(text: str, *, reads: bool = True) -> Verb:
    words = tuple(text.split())
    return Verb(lambda world: words, reads)


def _policy(world: World) -> str:
    """Return the key of the first policy that was trained."""
    return min(one.key for one in list_manifests(world.shell.home, "update_policy"))


def _reward_model(world: World) -> str:
    return min(one.key for one in list_manifests(world.shell.home, "update_reward_model"))


_LOW = tuple(sets("gate.min_win_rate=0", "gate.min_judge_accuracy=null"))
VERBS = {
    "run": Verb(lambda world: world.words, reads=False),
    VERIFIED: Verb(lambda world: (*world.words, "--verify"), reads=False),
    "resume": _plain("resume latest", reads=False),
    "plan": Verb(lambda world: ("plan", *world.words[1:])),
    "status": _plain("status"),
    "ls runs": _plain("ls runs"),
    "ls artifacts": _plain("ls artifacts"),
    "ls aliases": _plain("ls aliases"),
    "ls operations": _plain("ls operations --json"),
    "show run": _plain("show latest"),
    "show policy": Verb(lambda world: ("show", _policy(world))),
    "report": _plain("report latest"),
    "cost": _plain("cost"),
    "lineage": _plain("lineage latest"),
    "lineage down": Verb(lambda world: ("lineage", _policy(world), "--down", "--json")),
    "why": Verb(lambda world: ("why", _policy(world), _reward_model(world))),
    "doctor": _plain("doctor", reads=False),
    "gc": _plain("gc --yes", reads=False),
    "gc at once": _plain("gc --yes --days 0 --trash-days 0", reads=False),
    "gc dry": _plain("gc --dry-run --json"),
    "export": Verb(lambda world: ("export", _policy(world), "exported"), reads=False),
    "export dvc": Verb(
        lambda world: ("export", _policy(world), "exported", "--format", "dvc"), reads=False
    ),
    "promote": Verb(lambda world: ("promote", *_LOW), reads=False),
    "promote dry": Verb(lambda world: ("promote", "--dry-run", *_LOW), reads=False),
    "pin": _plain("pin latest", reads=False),
}
"""Every verb that is tried, by the name of its trial."""

_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| UTC)?"
    r"|\b\d+(\.\d+)?\s?(ms|s|m|min|h|d|seconds?|minutes?|hours?|days?)\b( ago)?"
)


def lines_of(outcome: Outcome, folder: Path) -> list[str]:
    """Return what was printed, line by line, without times and without the world's place."""
    text = outcome.text.replace(str(folder), "WORLD")
    return [" ".join(_TIMES.sub("TIME", line).split()) for line in text.splitlines()]


def new_lines(damaged: list[str], sound: list[str]) -> list[str]:
    """Return what is said of a damaged world alone, and what of the sound one is left out."""
    told = [line for line in damaged if line and line not in sound]
    return told + [f"missing: {line}" for line in sound if line and line not in damaged]


class Sound:
    """What each verb says, and exports, of a world that nobody damaged; asked once."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], Said] = {}

    def of(self, worlds: Worlds, world: World, verb: str) -> Said:
        """Return its exit code, its lines and the files it exports."""
        if (world.flow, verb) not in self._said:
            with worlds.trial(world, "calm") as shell:
                outcome = run(shell, *VERBS[verb].words(world))
                lines = lines_of(outcome, shell.folder)
                self._said[world.flow, verb] = outcome.code, lines, dict(exported(shell))
        return self._said[world.flow, verb]


def exported(shell: Shell) -> Iterator[tuple[str, bytes]]:
    """Yield the weights and data that a verb wrote into the folder `exported`."""
    folder = shell.folder / "exported"
    for path in sorted(folder.rglob("*.safetensors")) + sorted(folder.rglob("*.jsonl")):
        yield str(path.relative_to(folder)), path.read_bytes()
