"""`fault/FLOW`: a kill or a full disk at a durable operation; then the run is resumed.

The first seeds walk through every action, kind of operation and kind of stage that come together;
the others draw an operation by its whole name.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.torture import oracle
from tests.torture.commands import Outcome, run
from tests.torture.inside import OUTSIDE, kind_of
from tests.torture.trials import Arena, Report, trial
from tests.torture.worlds import Worlds, forget

_TOLD = "told.txt"
_FULL = "No space left on device", "disk is full"


class Drawn(NamedTuple):
    """Where a fault is to happen."""

    action: str
    """`kill` or `enospc`."""
    call: str
    """STAGE/KEY of the call that is done again, or OUTSIDE."""
    kind: str
    """Kind of operation: its first word, or its whole name without numbers."""
    nth: int
    """Which of those of the call."""
    whole: bool
    """Whether the call's output is forgotten too, not its manifest alone."""

    def __str__(self) -> str:
        gone = "output and manifest gone" if self.whole else "manifest gone"
        return f"{self.action} at `{self.kind}` {self.nth} of {self.call[:40]} ({gone})"


def draw(arena: Arena, seed: int) -> Drawn:
    """Draw a fault."""
    world, draws, grid = arena.world, arena.draws, arena.world.grid()
    if seed < len(grid):
        action, stage, kind = grid[seed]
        calls = [call for call in world.calls(stage) if world.count(call, kind)]
        call = draws.choice(calls)
    else:
        action, stage = draws.choice(("kill", "enospc")), draws.choice(world.stages)
        call = draws.choice(world.calls(stage))
        kind = draws.choice(sorted({kind_of(name) for name in world.operations[call]}))
    nth = draws.randint(1, world.count(call, kind))
    return Drawn(action, call, kind, nth, draws.random() < 0.5)


def try_fault(worlds: Worlds, flow: str, seed: int) -> Report:
    """Do one trial."""
    with trial(worlds, "fault", flow, seed) as (report, arena):
        drawn = draw(arena, seed)
        report.injected = str(drawn)
        outcome, told = _struck(arena, drawn)
        if not told and drawn.nth > 1:
            # What lies there already spares some operations.
            drawn = drawn._replace(nth=1)
            outcome, told = _struck(arena, drawn)
            report.injected = str(drawn)
        report.injected += f": {told or 'never came'}"
        report.sentence = outcome.sentence
        if not report.fail(_judge(arena, drawn, outcome, told)):
            report.fail(oracle.ended_well(arena.go_on(), (0,)))
            arena.end(report)
    return report


def _struck(arena: Arena, drawn: Drawn) -> tuple[Outcome, str]:
    """Do a call again with the fault; return how that ended, and the operation that was struck.

    A run in which no call is to be done does nothing: for what is done outside of calls the report
    is written again.
    """
    (report,) = (call for call in arena.world.keys if call.startswith("write_"))
    forget(arena.shell, report if drawn.call == OUTSIDE else drawn.call, whole=drawn.whole)
    path = arena.shell.folder / _TOLD
    fault = {
        "action": drawn.action,
        "stage": drawn.call.partition("/")[0],
        "kind": drawn.kind,
        "nth": drawn.nth,
    }
    outcome = run(arena.shell, *arena.world.words, wish={"fault": fault, "told": str(path)})
    return outcome, path.read_text(encoding="utf-8") if path.exists() else ""


def _judge(arena: Arena, drawn: Drawn, outcome: Outcome, told: str) -> list[str]:
    """Return what is wrong with how the struck command ended."""
    if not told:
        return [f"the operation never came; the command ended with {outcome.code}"]
    problems = list(oracle.whole_outputs(arena.shell, verify=True))
    if drawn.action == "kill":
        return problems + ([] if outcome.code == -9 else [f"{outcome.code} in place of a kill"])
    # What only speeds things up, or is told again later, may fail without failing the run.
    problems += oracle.ended_well(outcome, (0, 1))
    if outcome.code == 1 and not any(words in outcome.err for words in _FULL):
        problems.append(f"the full disk is not named: {outcome.sentence}")
    if outcome.code == 0:
        problems += oracle.same_digests(arena.shell, arena.world.keys)
    return problems
