"""Which trials there are, in which order, and how long one goes on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from tests.torture.faults import try_fault
from tests.torture.flips import try_flip
from tests.torture.kills import try_kill
from tests.torture.ledger import Ledger
from tests.torture.trials import Report, Trial
from tests.torture.worlds import WORDS, Worlds

KINDS: dict[str, Trial] = {"fault": try_fault, "kill": try_kill, "flip": try_flip}
"""How each kind is tried."""
WHOLE = {"kill": 200, "flip": 1000}
"""How many of a kind the whole torture has, of all flows together."""
SAMPLED = 500
"""Faults beside the grid."""
Tried = tuple[str, int]
"""Name and seed of a trial."""


def names(prefix: str = "") -> list[str]:
    """Return the names of all kinds of trials that begin with `prefix`."""
    found = [f"{kind}/{flow}" for kind in KINDS for flow in WORDS]
    return [name for name in found if name.startswith(prefix)]


def whole(counts: Callable[[str], int], prefix: str = "") -> Iterator[Tried]:
    """Yield every trial, so that any beginning of them is an even sample of all kinds.

    Args:
        counts: Says how many seeds a name has.
        prefix: Which names.
    """
    left = {name: counts(name) for name in names(prefix)}
    total = max(left.values(), default=0)
    places = [
        ((seed + 0.5) / count, name, seed) for name, count in left.items() for seed in range(count)
    ]
    assert total < 10**6
    yield from ((name, seed) for _, name, seed in sorted(places))


def count_of(worlds: Worlds, name: str) -> int:
    """Return how many seeds a name has in the whole torture."""
    kind, _, flow = name.partition("/")
    if kind == "fault":
        return len(worlds.world(flow).grid()) + share(SAMPLED, flow)
    return share(WHOLE[kind], flow)


def share(total: int, flow: str) -> int:
    """Return a flow's part of a number; the first flows have one more where it does not divide."""
    flows = list(WORDS)
    return total // len(flows) + (flows.index(flow) < total % len(flows))


def one_of_each(seed: int, prefix: str = "") -> Iterator[Tried]:
    """Yield a trial of each name, with this seed; then with the next, and so on."""
    while True:
        yield from ((name, seed) for name in names(prefix))
        seed += 1


def try_all(
    trials: Iterator[Tried],
    do: Callable[[str, int], Report],
    ledger: Ledger,
    *,
    seconds: float = float("inf"),
    say: Callable[[str], None] = print,
) -> list[Report]:
    """Try what has not passed yet, until there is no more, or no more time.

    Returns:
        Those of this time.
    """
    began, passed, done = time.monotonic(), ledger.passed(), []
    for name, seed in trials:
        if time.monotonic() - began > seconds:
            break
        if (name, seed) in passed:
            continue
        report = do(name, seed)
        ledger.append(report)
        done.append(report)
        say(line_of(report))
    return done


def do_trial(worlds: Worlds, name: str, seed: int) -> Report:
    """Try one name and seed; a trial that breaks by itself has failed, and no other with it."""
    kind, _, flow = name.partition("/")
    began = time.monotonic()
    try:
        return KINDS[kind](worlds, flow, seed)
    except Exception as error:
        lines = traceback.format_exc().strip().splitlines()[-6:]
        problem = f"the trial broke: {type(error).__name__}: {error} ({' '.join(lines)})"
        seconds = round(time.monotonic() - began, 2)
        return Report(name, seed, "failed", seconds, problems=[problem])


def line_of(report: Report) -> str:
    """Return a trial as a line for people, and one for each thing that did not hold."""
    head = f"{report.outcome} {report.name} {report.seed} ({report.seconds:.0f} s): "
    problems: Sequence[str] = [f"    {one}" for one in report.problems]
    return "\n".join([head + report.injected, *problems])
