"""Every configuration that ships runs through, on rows in the real form of its data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from flows.configs.ava import AvaConfig
from flows.configs.base import FlowConfig
from flows.configs.exo import ExoConfig
from flows.registry import CONFIGS, find_flow, read_config
from flows.rehearsal.branches import alone
from flows.rehearsal.rehearsal import Options, Rehearsal, rehearse
from flows.shrinking.config import Smallness

MODEL_OF = {
    "apo-hh": "llama-2-7b",
    "apo-smollm2": "models/smollm2-135m-instruct",
    "exo-hh": "pythia-2.8b",
    "exo-tldr": "pythia-2.8b",
    "exo-imdb": "gpt2-large",
    "exo-instructions": "six-billion",
    "apo-tiny": "",
    "exo-tiny": "",
    "apo-pairs": "",
    "exo-pairs": "",
    "ava-tiny": "",
    "ava-pairs": "",
    "ava-hh": "gpt2",
    "ava-tldr": "bart-base",
    "ava-hh-7b": "llama-2-7b-chat",
    "ava-demonstrations": "llama-2-7b-chat",
    "ava-math": "llama-2-7b-chat",
}
"""The model in whose architecture each configuration is rehearsed; none where it builds its own."""
ON_REAL_FILES = {"apo-hh-cpu", "exo-imdb-cpu", "ava-hh-cpu"}
"""Their data are the real ones of SPARRING_DATA."""
QUICK = {"apo-smollm2", "exo-instructions", "ava-math"}
"""One of each flow stands for the others in the default suite: hub sets and a chat model."""
SMALL = Smallness(rows=60, prompts=4, samples=4, new_tokens=8)
LARGE = "h200"
"""A GPU that one process of each configuration fits on."""


def one_of_each_method(config: FlowConfig) -> FlowConfig:
    """Return a configuration with the first branch of every method, and one trial of a search.

    Of the arms of `ava` the first cell of the first and of the last ones is taken.
    """
    if isinstance(config, AvaConfig):
        cut = ("objective", "ablation", "seeds")
        ends = (config.arms[0], config.arms[-1])
        arms = [
            arm.model_copy(update={name: getattr(arm, name)[:1] for name in cut}) for arm in ends
        ]
        return config.model_copy(update={"arms": arms})
    if not isinstance(config, ExoConfig):
        return config
    first = {branch.method: branch for branch in reversed(config.all_branches())}
    branches = [alone(first[name]) for name in sorted(first)]
    return config.model_copy(update={"methods": (), "branches": branches})


def rehearsed(name: str, *overrides: str) -> Rehearsal:
    entry = find_flow(name.partition("-")[0])
    config = read_config(entry, CONFIGS / f"{name}.yaml", overrides)
    assert isinstance(config, FlowConfig)
    options = Options(small=SMALL, device=LARGE if MODEL_OF.get(name) else None)
    return rehearse(entry, one_of_each_method(config), options, Console(quiet=True))


def test_every_shipped_configuration_is_rehearsed() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == MODEL_OF.keys() | ON_REAL_FILES


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name in sorted(MODEL_OF)
    ],
)
def test_it_runs_through(name: str, workplace: Callable[[str], Path]) -> None:
    before = sorted(workplace(MODEL_OF[name]).iterdir())
    found = rehearsed(name)
    assert not found.performance.failures
    assert not found.performance.missed and found.performance.report is not None
    assert found.stored > 0 and found.hours > 0
    after = {path for path in Path().resolve().iterdir() if path.name != "data"}
    assert after == set(before), "nothing of a rehearsal is kept"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ON_REAL_FILES))
def test_it_runs_through_on_the_real_files(
    name: str, real_data: Path, workplace: Callable[[str], Path]
) -> None:
    workplace("gpt2-large")
    assert not rehearsed(name).failures
