"""What the evaluation stages of `exo` refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.evaluation.config import BestOfN
from tasks.evaluation.exo.config import DensityConfig, ExoEntry, ExoReportConfig, MethodFacts
from tasks.models.tokens.encoding import Limits

START = ExoEntry(name="start", kind="start")


def test_entries_must_be_complete() -> None:
    with pytest.raises(ValidationError, match="'a' needs the method"):
        ExoEntry(name="a")
    with pytest.raises(ValidationError, match="'b' needs its N"):
        ExoEntry(name="b", kind="best_of_n", method="best_of_n")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((), "one entry of kind start, got 0"),
        ((START, ExoEntry(name="other", kind="start")), "one entry of kind start, got 2"),
        (
            (START, *(ExoEntry(name=name, kind="chosen") for name in "ab")),
            "one entry of kind chosen, got 2",
        ),
        ((START, ExoEntry(name="start", method="dpo")), "'start' twice"),
        ((START, ExoEntry(name="b", method="ipo")), "methods says nothing of 'ipo'"),
    ],
)
def test_a_report_has_one_start_and_no_name_twice(entries: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExoReportConfig(entries=entries, methods={"dpo": MethodFacts()})


@pytest.mark.parametrize(
    "make",
    [
        lambda: BestOfN(n=0),
        lambda: BestOfN(most=0),
        lambda: DensityConfig(limits=Limits(), template=None, betas={"dpo": 0.0}),
        lambda: DensityConfig(limits=Limits(), template=None, betas={}, temperature=0.0),
        lambda: DensityConfig(limits=Limits(), template=None, betas={}, bandwidth=-1.0),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ValidationError, match="greater than"):
        make()
