"""A slice of `make torture` that is another one each day: a fault, a kill and a flip of a byte.

The seed is printed, and SPARRING_TORTURE_SEED tries one again; the whole is `make torture`.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.databases import Databases
from tests.flows.command import Shell
from tests.torture.inside import OUTSIDE
from tests.torture.schedule import KINDS, do_trial, line_of
from tests.torture.worlds import World, Worlds, forget, recorded

SEED = int(os.environ.get("SPARRING_TORTURE_SEED", datetime.now(UTC).toordinal()))


@pytest.fixture(scope="module")
def worlds(
    untouched: Shell,
    prefect_server: str,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Worlds:
    """The shared small run as the world of `apo`, with the operations of one of its calls."""
    folder = tmp_path_factory.mktemp("torture")
    # Other tests are at work on the server: what it believes to be running is not asked.
    found = Worlds(folder, databases, prefect_server, folder / "none.db")
    shell = replace(untouched, variables={"PREFECT_API_URL": prefect_server})
    world = World("apo", shell, untouched.finished_keys(), {})
    call = random.Random(SEED).choice(sorted(world.keys))
    copy = world.copy(folder / "recorded")
    forget(copy, call, whole=False)
    operations = recorded(copy, "apo", folder / "operations.txt")
    kept = {name: operations[name] for name in (call, OUTSIDE)}
    found.adopt(replace(world, operations=kept))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_the_torture(worlds: Worlds, kind: str) -> None:
    report = do_trial(worlds, f"{kind}/apo", SEED)
    print(f"\nSPARRING_TORTURE_SEED={SEED}: {line_of(report)}")
    assert not report.problems, line_of(report)
