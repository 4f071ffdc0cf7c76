"""The mutation check fits the source: each guard is there once, and the tests that guard it are.

The check itself takes minutes: `make mutations`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation_check import MUTANTS, Mutant, without


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.guard for mutant in MUTANTS])
def test_every_guard_can_be_taken_out(mutant: Mutant) -> None:
    source = Path(mutant.file).read_text("utf-8")
    changed = without(source, mutant.changes)
    assert changed != source
    compile(changed, mutant.file, "exec")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name or 'test_'}" in Path(file).read_text("utf-8")


def test_a_source_that_moved_on_is_named() -> None:
    with pytest.raises(ValueError, match="'gone' is there 0 times"):
        without("source", [("gone", "")])
    with pytest.raises(ValueError, match="there 2 times"):
        without("twice twice", [("twice", "")])
