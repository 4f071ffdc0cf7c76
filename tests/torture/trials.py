"""One trial: its name, its seed, and how it ended."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.flows.command import Shell
from tests.torture import oracle
from tests.torture.commands import Outcome, run
from tests.torture.worlds import World, Worlds


@dataclass
class Report:
    """What a trial says of itself."""

    name: str
    """Its kind and flow, as in `fault/apo`."""
    seed: int
    """What determines it."""
    outcome: str = "passed"
    """`passed` or `failed`."""
    seconds: float = 0.0
    """How long it took."""
    injected: str = ""
    """What was done to the world."""
    sentence: str = ""
    """What the command said of it."""
    problems: list[str] = field(default_factory=list)
    """What did not hold; empty where it passed."""

    def fail(self, problems: Iterable[str]) -> bool:
        """Take in what does not hold; return whether there is any."""
        found = list(problems)
        self.problems += found
        if self.problems:
            self.outcome = "failed"
        return bool(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the ledger."""
        return asdict(self)


Trial = Callable[[Worlds, str, int], Report]
"""Tries one seed at a flow."""


@contextmanager
def trial(worlds: Worlds, kind: str, flow: str, seed: int) -> Iterator[tuple[Report, Arena]]:
    """Lend a report and a copy of a world, and measure."""
    world, report = worlds.world(flow), Report(f"{kind}/{flow}", seed)
    began = time.monotonic()
    with worlds.trial(world) as shell:
        draws = random.Random(f"{kind}/{flow} {seed}")
        yield report, Arena(world, shell, draws, worlds, oracle.at_work(worlds.prefect_db))
    report.seconds = round(time.monotonic() - began, 2)


@dataclass(frozen=True)
class Arena:
    """Where a trial takes place."""

    world: World
    """The undisturbed run."""
    shell: Shell
    """Its copy."""
    draws: random.Random
    """All choices."""
    worlds: Worlds
    """What else there is."""
    busy: frozenset[str]
    """What Prefect believed to be at work before."""

    def go_on(self) -> Outcome:
        """Resume what stopped; a command that died before its run was on record is given again."""
        runs = oracle.runs_of(self.shell)
        newest = runs[0].id if runs else ""
        is_new = newest not in {one.name for one in self.world.shell.home.runs.iterdir()}
        return run(self.shell, *(("resume", newest) if is_new else self.world.words))

    def end(self, report: Report) -> None:
        """Ask whether all is as if nothing had happened."""
        report.fail(oracle.same_digests(self.shell, self.world.keys))
        report.fail(oracle.whole_outputs(self.shell, verify=True))
        report.fail(oracle.nothing_twice(self.shell))
        report.fail(oracle.nothing_left(self.shell, self.worlds.prefect_db, self.busy))
