"""The torture of `make torture`: faults, kills and damage at drawn places; what must still hold.

A trial is named by its kind and flow and determined by its seed. What passed stands in a ledger
and is not tried again. The end is a table of all in it, and exit code 1 where one failed now.

python -m tests.torture --short
python -m tests.torture --try fault/apo --seed 17
"""

from __future__ import annotations

import argparse
import atexit
import functools
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Before any library reads the environment that it sets: no telemetry, one thread.
import tests.conftest
from tests.torture.ledger import Ledger, failures, table
from tests.torture.schedule import Tried, count_of, do_trial, names, one_of_each, try_all, whole
from tests.torture.session import FOLDER, session

SHORT = 10.0
"""Minutes of the short form."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words ask for; return the exit code."""
    asked = _parser().parse_args(words)
    ledger = Ledger(asked.ledger)
    if asked.table:
        _show(ledger)
        return 0
    if not names(asked.only) or (asked.once and asked.once not in names()):
        wrong = asked.once or asked.only
        print(f"there is no trial {wrong!r}; known: {', '.join(names())}", file=sys.stderr)
        return 2
    minutes = asked.minutes or (SHORT if asked.short else float("inf"))
    with session(asked.folder) as worlds:
        trials: Iterator[Tried]
        if asked.once:
            report = do_trial(worlds, asked.once, asked.seed)
            ledger.append(report)
            _say_one(report.injected, report.sentence, report.problems, report.seconds)
            return int(report.outcome != "passed")
        if asked.short:
            trials = one_of_each(asked.seed, asked.only)
        else:
            trials = whole(functools.partial(count_of, worlds), asked.only)
        do = functools.partial(do_trial, worlds)
        done = try_all(trials, do, ledger, seconds=minutes * 60, say=_say)
    _show(ledger)
    return int(any(one.outcome != "passed" for one in done))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--ledger", type=Path, default=FOLDER / "ledger.jsonl", help="its file")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where worlds are kept")
    parser.add_argument("--only", default="", metavar="PREFIX", help="as in flip/ or kill/apo")
    parser.add_argument("--minutes", type=float, help="stop after so many; the next use goes on")
    parser.add_argument("--short", action="store_true", help="an even sample in ten minutes")
    parser.add_argument("--try", dest="once", metavar="NAME", help="one trial, with --seed")
    parser.add_argument("--seed", type=int, default=0, help="of --try; the first one of --short")
    parser.add_argument("--table", action="store_true", help="only print the ledger's counts")
    return parser


def _show(ledger: Ledger) -> None:
    print(table(ledger.records()))
    for line in failures(ledger.records()):
        print(f"failed {line}")


def _say(text: str) -> None:
    print(text, flush=True)


def _say_one(injected: str, sentence: str, problems: Sequence[str], seconds: float) -> None:
    print(f"injected: {injected}\nsaid: {sentence}\nseconds: {seconds:.1f}")
    for problem in problems:
        print(f"did not hold: {problem}")


if __name__ == "__main__":
    atexit.register(shutil.rmtree, tests.conftest._SCRATCH, ignore_errors=True)
    sys.exit(main())
