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

from benchmarks.engine.peers import Peer, Side
from benchmarks.engine.rows import Row
from benchmarks.engine.search import SideError
from benchmarks.engine.setting import ROOT, Setting
from benchmarks.engine.table import circumstances, figures, markdown
from benchmarks.engine.turns import (
    Measured,
    Worker,
    disagreement,
    in_turn,
    ratios,
)

SIDES = "tests.benchmarks.engine.sides"


def worker(folder: Path, stack: ExitStack, function: str, **options: Any) -> Worker:
    log = folder / f"{function}-{options.get('name', '')}.log"
    made = Worker(Side(function, f"{SIDES}:{function}", options), Setting(), folder, log)
    return stack.enter_context(made)


def test_sides_alternate_and_the_ratio_is_that_of_their_speeds(tmp_path: Path) -> None:
    with ExitStack() as stack:
        start = partial(worker, tmp_path, stack, "steady")
        ours, peer = partial(start, name="A", seconds=0.02), partial(start, name="B", seconds=0.2)
        a, b, others = in_turn(ours, peer, pairs=3, most=3)
    assert (tmp_path / "order").read_text() == "AB" + "ABABAB"
    assert len(ratios(a, b)) == 3
    # 10 at most; what else runs on this machine makes the faster side slower first.
    assert 3 < sorted(ratios(a, b))[1] <= 11
    assert a.waste == pytest.approx(0.25)
    assert 0 <= others <= 1


def test_without_a_peer_ours_works_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        ours = partial(worker, tmp_path, stack, "steady", name="A", seconds=0.0)
        a, b, _ = in_turn(ours, None, pairs=2, most=7)
    assert (tmp_path / "order").read_text() == "AAA"
    assert len(a.rates) == 2 and not b.rates


def test_blocks_go_on_while_the_ratios_spread(tmp_path: Path) -> None:
    with ExitStack() as stack:
        start = partial(worker, tmp_path, stack, "steady", seconds=0.0)
        a, _, _ = in_turn(
            partial(start, name="A"), partial(start, name="B"), pairs=1, most=4, spread=-1.0
        )
    assert len(a.rates) == 4


def test_what_was_spent_before_is_in_a_blocks_time(tmp_path: Path) -> None:
    with ExitStack() as stack:
        side = worker(tmp_path, stack, "prepared")
        assert side.loaded()["seconds"] == 0.0
        assert side.block()["seconds"] >= 100.0


def test_memory_is_that_of_the_worker_and_not_what_its_parent_held(tmp_path: Path) -> None:
    held = bytearray(400_000_000)
    with ExitStack() as stack:
        peak = worker(tmp_path, stack, "steady", name="A", seconds=0.0).loaded()["peak_gb"]
    del held
    assert 0.01 < peak < 0.3


def test_a_side_that_the_system_ends_says_so_in_short(tmp_path: Path) -> None:
    with pytest.raises(SideError) as found, ExitStack() as stack:
        side = worker(tmp_path, stack, "killed")
        side.loaded()
        side.block()
    assert found.value.short == "killed, as by the system where memory runs out"


def test_a_side_that_breaks_is_quoted_and_leaves_no_process(tmp_path: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(SideError, match="this side cannot go on") as found, ExitStack() as stack:
        side = worker(tmp_path, stack, "breaking")
        side.loaded()
        side.block()
    assert found.value.short == "ValueError: this side cannot go on"
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
from benchmarks.engine.peers import Side
from benchmarks.engine.setting import Setting
from benchmarks.engine.turns import Worker
folder = Path(sys.argv[1])
options = {"name": "A", "seconds": 0.0}
end_with_workers()
side = Side("A", "tests.benchmarks.engine.sides:steady", options)
with Worker(side, Setting(), folder, folder / "log") as w:
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
    "x",
    "a title",
    "groups",
    Side("ours", "a:b"),
    Peer("theirs", "a:c"),
    0.01,
    floor=2.0,
    goal=4.0,
    memory_floor=0.5,
    memory_goal=0.4,
)
FOUND = {"missing": "", "choice": "", "tried": []}


def taken(rates: list[float], **fields: Any) -> Measured:
    return Measured(rates, [rate * 10 for rate in rates], 100, 98, 1.0, **fields)


def test_figures_take_the_median_of_the_pairs() -> None:
    ours = taken([4.0, 9.0, 8.0], losses={"1": 0.7}, notes={"matmul": 200.0})
    found = figures(ROW, ours, taken([2.0, 3.0, 2.0], losses={"1": 0.7001}), 0.02) | FOUND
    assert found["ratios"] == [2.0, 3.0, 4.0]
    assert found["ratio"] == 3.0
    # 8 blocks' median times 10 operations, of 200 possible.
    assert found["matmul_share"] == pytest.approx(0.4)
    assert found["ours_waste"] == pytest.approx(0.02)
    line = markdown([found]).splitlines()[-1]
    assert "**3.00×** (2.00–4.00, 3)" in line
    # Faster than the floor, but not with half of the memory.
    assert "floor 2×: met, goal 4×: missed, memory floor 0.5×: missed, memory goal 0.4×" in line
    assert "memory floor 0.5×: met, memory goal 0.4×: missed" in markdown([found | {"memory": 0.5}])


def test_a_row_measured_on_a_loaded_machine_is_marked() -> None:
    sides = [taken([4.0], losses={"1": 0.7}) for _ in range(2)]
    quiet, loaded = (figures(ROW, *sides, others) | FOUND for others in (0.03, 0.43))
    assert "loaded" not in markdown([quiet]) and "| 3% |" in markdown([quiet])
    line = markdown([loaded])
    assert "(1.00–1.00, 1, loaded machine)" in line and "| 43% **loaded** |" in line


def test_a_row_without_its_peer_says_so() -> None:
    found = figures(ROW, taken([4.0], losses={"1": 0.7}), Measured(), 0.0) | FOUND
    line = markdown([found | {"missing": "vLLM is not installed: make vllm"}])
    assert "against theirs, vLLM is not installed: make vllm |" in line
    assert "| 4 groups | – | no peer | floor 2×: not known, goal 4×: not known" in line


def test_the_search_stands_under_the_table() -> None:
    sides = [taken([4.0], losses={"1": 0.7}) for _ in range(2)]
    searched = {"choice": "batch 8", "tried": [{"text": "batch 8: 2 a second"}]}
    shown = markdown([figures(ROW, *sides, 0.0) | FOUND | searched])
    assert "ours against theirs, batch 8 |" in shown
    assert shown.endswith("x, tried for theirs (best: batch 8):\n\n- batch 8: 2 a second")


@pytest.mark.parametrize("theirs", [{"1": 0.8}, {"1": math.nan}, {"2": 0.7}, {}])
def test_sides_that_did_other_work_make_no_row(theirs: dict[str, float]) -> None:
    with pytest.raises(SideError, match="x: the sides"):
        figures(ROW, taken([1.0], losses={"1": 0.7}), taken([1.0], losses=theirs), 0.0)


def test_a_table_says_where_it_comes_from() -> None:
    about = circumstances()
    assert {"commit", "command", "processor", "versions", "date"} <= set(about)
    assert "torch 2" in about["versions"]
