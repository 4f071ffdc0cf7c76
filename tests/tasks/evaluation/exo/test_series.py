"""Which checkpoints make a series, and what it is called."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.series import series_of
from tests.tasks.evaluation.exo.evaluations import FACTS, entry_of


def _entry(method: str, **settings: Any) -> ExoEntry:
    return entry_of(method, f"{method}{sorted(settings.items())}", **settings)


def test_seeds_and_steps_belong_to_one_series() -> None:
    entries = [
        _entry("exo_pref", seed=seed, step=step, is_last=step == 20, beta_pi=0.1)
        for seed in (1, 0)
        for step in (20, 10)
    ]
    (series,) = series_of([ExoEntry(name="s", kind="start"), *entries], FACTS)
    assert (series.name, series.family) == ("EXO-pref", "EXO-pref")
    assert [(entry.seed, entry.step) for entry in series.entries] == [
        (0, 10),
        (0, 20),
        (1, 10),
        (1, 20),
    ]
    assert [(entry.seed, entry.step) for entry in series.last] == [(0, 20), (1, 20)]


def test_names_hold_what_tells_series_apart() -> None:
    all_series = series_of(
        [
            _entry("dpo", beta_pi=0.1),
            _entry("dpo", beta_pi=0.5),
            _entry("exo_rw", beta_pi=0.1, beta_r=0.1, responses=4, supervision="oracle"),
            _entry("exo_rw", beta_pi=0.1, beta_r=0.1, responses=8, supervision="reward_model"),
            _entry("ppo", temperature=0.8),
        ],
        FACTS,
    )
    assert [series.name for series in all_series] == [
        "DPO-pref β=0.1",
        "DPO-pref β=0.5",
        "EXO-rw K=4, oracle",
        "EXO-rw K=8, reward_model",
        "PPO",
    ]
    assert [series.family for series in all_series][:3] == [
        "DPO-pref",
        "DPO-pref",
        "EXO-rw K=4, oracle",
    ]


def test_the_temperature_of_the_start_goes_without_saying() -> None:
    start = ExoEntry(name="s", kind="start", temperature=0.8)
    branches = [_entry("dpo", temperature=tau) for tau in (0.8, 1.0)]
    assert [one.name for one in series_of([start, *branches], FACTS)] == [
        "DPO-pref",
        "DPO-pref τ=1",
    ]


def test_best_of_n_is_one_series_that_ends_at_the_largest_n() -> None:
    entries = [_entry("best_of_n", responses=n, temperature=0.8) for n in (8, 2)]
    (series,) = series_of(entries, FACTS)
    assert series.name == "Best-of-N"
    assert [entry.responses for entry in series.entries] == [2, 8]
    assert [entry.responses for entry in series.last] == [8]
