"""Which series are compared, and with which."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.exo.comparisons import compare_series
from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.series import series_of


class Pairs:
    """Stands for the frontier: every comparison is its two names."""

    def compare(self, ours: str, theirs: str) -> Any:
        return None


def _asked(*entries: tuple[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    made = [
        ExoEntry(
            name=str(row),
            kind="best_of_n" if method == "best_of_n" else "policy",
            method=method,
            **settings,
        )
        for row, (method, settings) in enumerate(entries)
    ]
    return [
        (one.question, one.ours, one.theirs) for one in compare_series(series_of(made), Pairs())
    ]


def test_twins_share_k_and_beta() -> None:
    assert _asked(
        ("exo_rw", {"responses": 4, "beta_pi": 0.1, "beta_r": 0.1}),
        ("exo_rw", {"responses": 4, "beta_pi": 0.5, "beta_r": 0.1}),
        ("dpo_rw", {"responses": 4, "beta_pi": 0.5, "beta_r": 0.1}),
    ) == [
        ("EXO against DPO", "EXO-rw K=4 β_π=0.1", "DPO-rw K=4"),
        ("EXO against DPO", "EXO-rw K=4 β_π=0.5", "DPO-rw K=4"),
    ]
    assert not _asked(
        ("exo_rw", {"responses": 4, "beta_pi": 0.1}), ("dpo_rw", {"responses": 8, "beta_pi": 0.1})
    )


def test_a_further_beta_without_a_twin_is_compared_with_nobody() -> None:
    assert _asked(
        ("exo_pref", {"beta_pi": 0.1}), ("exo_pref", {"beta_pi": 0.5}), ("dpo", {"beta_pi": 0.1})
    ) == [("EXO against DPO", "EXO-pref β_π=0.1", "DPO-pref")]


def test_larger_k_meets_the_next_smaller_one() -> None:
    asked = _asked(*(("dpo_rw", {"responses": size, "beta_pi": 0.1}) for size in (8, 2, 4)))
    assert asked == [
        ("more responses", "DPO-rw K=8", "DPO-rw K=4"),
        ("more responses", "DPO-rw K=4", "DPO-rw K=2"),
    ]


def test_ppo_and_best_of_n_meet_all_of_their_temperature() -> None:
    asked = _asked(
        ("ppo", {}),
        ("dpo", {"beta_pi": 0.1}),
        ("dpo", {"beta_pi": 0.1, "temperature": 0.8}),
        ("sft", {}),
        ("best_of_n", {"responses": 4}),
    )
    assert asked == [
        ("PPO's place", "PPO", "DPO-pref τ=1"),
        ("best-of-N's place", "Best-of-N", "DPO-pref τ=1"),
    ]
