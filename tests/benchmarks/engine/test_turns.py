from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.engine.rows import Row, Side
from benchmarks.engine.setting import Setting
from benchmarks.engine.table import circumstances, figures, markdown
from benchmarks.engine.turns import (
    ROOT,
    Measured,
    SideError,
    Worker,
    disagreement,
    in_turn,
    ratios,
)

SIDES = "tests.benchmarks.engine.sides"


def worker(folder: Path, stack: ExitStack, function: str, **options: Any) -> Worker:
    log = folder / f"{function}-{options.get('name', '')}.log"
    made = Worker(f"{SIDES}:{function}", Setting(), folder, options, log)
    return stack.enter_context(made)


def timed(folder: Path, *peers: tuple[str, float], pairs: int = 3) -> tuple[Any, ...]:
    with ExitStack() as stack:
        start = partial(worker, folder, stack, "steady")
        return in_turn(
            partial(start, name="A", seconds=0.02),
            [partial(start, name=name, seconds=seconds) for name, seconds in peers],
            pairs=pairs,
            most=pairs,
        )


def test_sides_alternate_and_the_ratio_is_that_of_their_speeds(tmp_path: Path) -> None:
    a, b, _ = timed(tmp_path, ("B", 0.2))
    assert (tmp_path / "order").read_text() == "BA" + "ABABAB"
    assert len(ratios(a, b)) == 3
    # 10 at most; what else runs on this machine makes the faster side slower first.
    assert 3 < sorted(ratios(a, b))[1] <= 11
    assert a.waste == pytest.approx(0.25)


def test_the_fastest_variant_of_a_peer_goes_on(tmp_path: Path) -> None:
    _, _, chosen = timed(tmp_path, ("B", 0.4), ("C", 0.05), pairs=1)
    assert chosen == 1
    assert (tmp_path / "order").read_text() == "BCA" + "AC"


def test_blocks_go_on_while_the_ratios_spread(tmp_path: Path) -> None:
    with ExitStack() as stack:
        start = partial(worker, tmp_path, stack, "steady", seconds=0.0)
        a, _, _ = in_turn(
            partial(start, name="A"), [partial(start, name="B")], pairs=1, most=4, spread=-1.0
        )
    assert len(a.rates) == 4


def test_a_side_that_breaks_is_quoted_and_leaves_no_process(tmp_path: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(SideError, match="this side cannot go on"), ExitStack() as stack:
        side = worker(tmp_path, stack, "breaking")
        side.loaded()
        side.block()
    assert psutil.Process().children() == before


def test_a_worker_ends_at_once_when_something_else_failed(tmp_path: Path) -> None:
    began, before = time.monotonic(), psutil.Process().children()
    with pytest.raises(RuntimeError), ExitStack() as stack:
        worker(tmp_path, stack, "stuck").loaded()
        raise RuntimeError
    assert time.monotonic() - began < 15
    assert psutil.Process().children() == before


PARENT = """
import sys, time
from pathlib import Path
from benchmarks.engine.running import end_with_workers
from benchmarks.engine.setting import Setting
from benchmarks.engine.turns import Worker
folder = Path(sys.argv[1])
options = {"name": "A", "seconds": 0.0}
end_with_workers()
side = "tests.benchmarks.engine.sides:steady"
with Worker(side, Setting(), folder, options, folder / "log") as w:
    w.loaded()
    print(w._process.pid, flush=True)
    time.sleep(600)
"""


def test_no_worker_survives_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(orphan) and time.monotonic() < deadline:
        if psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(orphan)


def test_sigterm_takes_the_workers_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        left = int(parent.stdout.readline())
        parent.terminate()
        assert parent.wait(30) == 128 + signal.SIGTERM
    assert not psutil.pid_exists(left)


def test_disagreement_is_relative_to_the_value_or_to_the_mean() -> None:
    assert disagreement({"1": 2.0, "2": 1.1}, {"1": 2.0, "2": 1.0, "3": 9.0}) == pytest.approx(
        (0.1 / 1.5, 2)
    )
    assert disagreement({"1": 1.0}, {"2": 1.0}) == (0.0, 0)
    assert math.isnan(disagreement({"1": 1.0, "2": math.nan}, {"1": 1.0, "2": 1.0})[0])


ROW = Row(
    "x", "a title", "groups", Side("ours", "a:b"), (Side("theirs", "a:c"),), 0.01, 2.0, 3.0, 0.5
)


def taken(rates: list[float], **fields: Any) -> Measured:
    return Measured(rates, [rate * 10 for rate in rates], 100, 98, 1.0, **fields)


def test_figures_take_the_median_of_the_pairs() -> None:
    ours = taken([4.0, 9.0, 8.0], losses={"1": 0.7}, notes={"matmul": 200.0})
    found = figures(ROW, ours, taken([2.0, 3.0, 2.0], losses={"1": 0.7001}), 0)
    assert found["ratios"] == [2.0, 3.0, 4.0]
    assert found["ratio"] == 3.0
    # 8 blocks' median times 10 operations, of 200 possible.
    assert found["matmul_share"] == pytest.approx(0.4)
    assert found["ours_waste"] == pytest.approx(0.02)
    line = markdown([found]).splitlines()[-1]
    assert "**3.00×** (2.00–4.00, 3)" in line
    # Faster than the floor, but not with half of the memory.
    assert "2×, 3×, memory 0.5×: not met" in line
    assert ": met" in markdown([found | {"memory": 0.5}])


@pytest.mark.parametrize("theirs", [{"1": 0.8}, {"1": math.nan}, {"2": 0.7}, {}])
def test_sides_that_did_other_work_make_no_row(theirs: dict[str, float]) -> None:
    with pytest.raises(SideError, match="x: the sides"):
        figures(ROW, taken([1.0], losses={"1": 0.7}), taken([1.0], losses=theirs), 0)


def test_a_table_says_where_it_comes_from() -> None:
    about = circumstances()
    assert {"commit", "command", "processor", "versions", "date"} <= set(about)
    assert "torch 2" in about["versions"]
