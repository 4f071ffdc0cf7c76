"""Which series are compared, and with which."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.exo.comparisons import compare_series
from tasks.evaluation.exo.series import series_of
from tests.tasks.evaluation.exo.evaluations import FACTS, entry_of


class Pairs:
    """Stands for the frontier: every comparison is its two names."""

    def compare(self, ours: str, theirs: str) -> Any:
        return None


def _asked(*entries: tuple[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    made = [
        entry_of(method, str(row), **settings) for row, (method, settings) in enumerate(entries)
    ]
    found = compare_series(series_of(made, FACTS), Pairs())
    return [(one.question, one.ours, one.theirs) for one in found]


def test_twins_share_k_and_beta() -> None:
    assert _asked(
        ("exo_rw", {"responses": 4, "beta_pi": 0.1, "beta_r": 0.1}),
        ("exo_rw", {"responses": 4, "beta_pi": 0.5, "beta_r": 0.1}),
        ("dpo_rw", {"responses": 4, "beta_pi": 0.5, "beta_r": 0.1}),
    ) == [
        ("EXO-rw against DPO-rw", "EXO-rw K=4 β_π=0.1", "DPO-rw K=4"),
        ("EXO-rw against DPO-rw", "EXO-rw K=4 β_π=0.5", "DPO-rw K=4"),
    ]
    assert not _asked(
        ("exo_rw", {"responses": 4, "beta_pi": 0.1}), ("dpo_rw", {"responses": 8, "beta_pi": 0.1})
    )


def test_a_further_beta_without_a_twin_is_compared_with_nobody() -> None:
    assert _asked(
        ("exo_pref", {"beta_pi": 0.1}), ("exo_pref", {"beta_pi": 0.5}), ("dpo", {"beta_pi": 0.1})
    ) == [("EXO-pref against DPO-pref", "EXO-pref β_π=0.1", "DPO-pref")]


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
        ("Best-of-N's place", "Best-of-N", "DPO-pref τ=1"),
    ]


def test_what_is_no_reward_learner_is_no_match_for_a_baseline() -> None:
    """Whom a method is compared with follows from what it says of itself, so any new one is."""
    assert _asked(("ppo", {}), ("rrhf", {}), ("sft", {}), ("best_of_n", {"responses": 2})) == [
        ("PPO's place", "PPO", "RRHF"),
        ("Best-of-N's place", "Best-of-N", "RRHF"),
    ]
