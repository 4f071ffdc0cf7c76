"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["calibration", "divergence", "drift", "game", "oracle", "preferences", "win_rates"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"tasks.evaluation.{name}"))
    assert outcome.attempted > 0 and outcome.failed == 0
