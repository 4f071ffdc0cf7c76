from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from benchmarks.engine.load import Load, Used, used


def counters(*values: Used) -> Callable[[], Used]:
    return iter(values).__next__


@pytest.mark.parametrize(
    ("after", "share"),
    [
        (Used(120.0, 60.0, 12.0), 0.4),
        (Used(120.0, 52.0, 12.0), 0.0),
        # Clocks tick apart: never below nothing.
        (Used(120.0, 51.9, 12.0), 0.0),
        (Used(100.0, 50.0, 10.0), 0.0),
    ],
)
def test_what_others_use_is_all_that_is_busy_but_our_own(after: Used, share: float) -> None:
    load = Load(counters(Used(100.0, 50.0, 10.0), after))
    assert load.of_others() == pytest.approx(share)


def test_the_work_of_children_is_our_own_even_after_they_ended() -> None:
    before = used()
    work = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    after = used()
    # Clocks tick in hundredths.
    assert after.own - before.own > 0.45
    assert after.busy >= before.busy and after.possible > before.possible
