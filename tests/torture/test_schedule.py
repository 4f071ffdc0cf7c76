"""Which trials of the torture are tried, how its ledger goes on, and what its table counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture import schedule
from tests.torture.__main__ import main
from tests.torture.ledger import Ledger, table
from tests.torture.trials import Report
from tests.torture.worlds import Worlds


def report(name: str, seed: int, outcome: str = "passed") -> Report:
    return Report(name, seed, outcome, 30.0, "what was done")


def test_the_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "ledger.jsonl")
    asked: list[tuple[str, int]] = []

    def do(name: str, seed: int) -> Report:
        asked.append((name, seed))
        return report(name, seed, "failed" if seed == 1 and len(asked) < 4 else "passed")

    def trials() -> Iterator[tuple[str, int]]:
        return iter([("flip/apo", 0), ("flip/apo", 1), ("kill/exo", 0)])

    schedule.try_all(trials(), do, ledger, say=lambda text: None)
    with (tmp_path / "deep" / "ledger.jsonl").open("a") as file:
        file.write('{"name": "kill/exo", "seed": 1, "outc')  # killed while it wrote
    again = schedule.try_all(trials(), do, ledger, say=lambda text: None)
    assert [(one.name, one.seed) for one in again] == [("flip/apo", 1)], "what passed is not tried"
    assert ledger.passed() == {("flip/apo", 0), ("flip/apo", 1), ("kill/exo", 0)}
    assert len(ledger.records()) == 4
    assert schedule.try_all(trials(), do, ledger, seconds=-1.0) == []


def test_the_table_counts_each_trial_once() -> None:
    told = [report("flip/apo", 0, "failed"), report("flip/apo", 0), report("flip/apo", 1)]
    told += [report("kill/exo", 7, "failed"), report("flip/apo", 5)]
    lines = table(one.to_json() for one in told).splitlines()
    assert lines[2:] == [
        "| flip | apo | 3 | 0 | 0–1, 5 | 2 |",
        "| kill | exo | 0 | 1 | 7 | 0 |",
    ]


def test_the_beginning_of_the_whole_is_an_even_sample() -> None:
    counts = {name: 10 if name.startswith("flip") else 2 for name in schedule.names()}
    trials = list(schedule.whole(counts.__getitem__))
    assert len(trials) == len(set(trials)) == sum(counts.values())
    half = [name for name, _ in trials[: len(trials) // 2]]
    assert {name: half.count(name) for name in counts} == {
        name: count // 2 for name, count in counts.items()
    }
    assert sum(schedule.share(1000, flow) for flow in ("apo", "exo", "ava")) == 1000
    short = list(itertools.islice(schedule.one_of_each(3, "kill"), 4))
    assert short == [("kill/apo", 3), ("kill/exo", 3), ("kill/ava", 3), ("kill/apo", 4)]


def test_a_trial_that_breaks_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(worlds: Worlds, flow: str, seed: int) -> Report:
        raise ValueError("no such thing")

    monkeypatch.setitem(schedule.KINDS, "kill", broken)
    found = schedule.do_trial(Worlds.__new__(Worlds), "kill/apo", 3)
    assert (found.outcome, found.name, found.seed) == ("failed", "kill/apo", 3)
    assert "the trial broke: ValueError: no such thing" in found.problems[0]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--try", "flip/apa"]) == main(["--only", "flop", "--short"]) == 2
    assert "there is no trial 'flop'; known: fault/apo" in capsys.readouterr().err
