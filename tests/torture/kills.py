"""`kill/FLOW`: some stages are forgotten, and the run that makes them again is killed at random.

Moments are drawn as an operation and a time after it, so that a busy machine does not shift all of
them into the first imports.
"""

from __future__ import annotations

import time

from tests.torture import oracle
from tests.torture.commands import Command
from tests.torture.inside import OUTSIDE
from tests.torture.trials import Arena, Report, trial
from tests.torture.worlds import Worlds, forget

_LONGEST = 1.0
"""Seconds after an operation, at the most."""
_MOST_STAGES = 4
_TRIES = 4


def try_kill(worlds: Worlds, flow: str, seed: int) -> Report:
    """Do one trial: one kill as a rule, up to three."""
    with trial(worlds, "kill", flow, seed) as (report, arena):
        total = about = _forget_some(arena)
        kills = arena.draws.choice((1, 1, 1, 2, 3))
        moments = []
        words = arena.world.words
        for _ in range(kills):
            moment = _killed(arena, words, total)
            if not moment:
                break
            moments.append(moment)
            if report.fail(oracle.whole_outputs(arena.shell, verify=True)):
                return report
            total //= 2
        report.injected = (
            f"{len(moments)} of {kills} kills in about {about} operations: {'; '.join(moments)}"
        )
        if not moments:
            report.fail(["the run always came to its end before its kill"])
        outcome = arena.go_on()
        report.sentence = outcome.sentence
        if not report.fail(oracle.ended_well(outcome, (0,))):
            arena.end(report)
    return report


def _forget_some(arena: Arena) -> int:
    """Forget up to four calls; return about how many operations it takes to make them again."""
    calls = sorted(call for call in arena.world.operations if call != OUTSIDE)
    chosen = arena.draws.sample(calls, arena.draws.randint(1, min(_MOST_STAGES, len(calls))))
    for call in chosen:
        forget(arena.shell, call, whole=arena.draws.random() < 0.5)
    return sum(len(arena.world.operations[call]) for call in (OUTSIDE, *chosen))


def _killed(arena: Arena, words: tuple[str, ...], total: int) -> str:
    """Run until the run is killed; return at what, or nothing where it always was faster."""
    told = arena.shell.folder / "told.txt"
    for _ in range(_TRIES):
        after, seconds = arena.draws.randint(1, max(total, 1)), arena.draws.random() * _LONGEST
        told.unlink(missing_ok=True)
        command = Command(arena.shell, words, {"after": after, "told": str(told)})
        while not told.exists() and not command.has_ended():
            time.sleep(0.02)
        command.has_ended(seconds)
        command.kill()
        if command.wait().code == -9:
            where = told.read_text(encoding="utf-8") if told.exists() else "the start"
            return f"{seconds:.2f} s after operation {after} ({where})"
        total //= 2
    return ""
