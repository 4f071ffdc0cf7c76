"""Two evaluations, prompt by prompt, with figures computed by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tasks.evaluation.metrics.paired_comparison import (
    compare_prompts,
    prompt_gaps,
    telling_pairs,
)


def _scores(**by_prompt: list[float]) -> dict[str, dict[str, Any]]:
    return {name: {"scores": {"judge": scores}} for name, scores in by_prompt.items()}


OURS = _scores(a=[1.0, 3.0], b=[0.0, 0.0], c=[5.0, 5.0])
THEIRS = _scores(a=[1.0, 1.0], b=[0.0, 0.0], c=[6.0, 6.0])


def test_means_wins_and_the_difference() -> None:
    """Gaps are 2-1=1, 0 and 5-6=-1; pairs won are 2 of 4, 0 and 0."""
    (found,) = compare_prompts(OURS, THEIRS, ["judge"])
    assert (found.wins, found.ties, found.losses, found.prompts) == (1, 1, 1, 3)
    assert found.ours == pytest.approx(7 / 3) and found.theirs == pytest.approx(7 / 3)
    assert found.difference == pytest.approx(0.0)
    assert found.win_rate == pytest.approx(1 / 6)
    assert found.interval.low == -1.0 and found.interval.high == 1.0
    assert asdict(found)["interval"] == {"low": -1.0, "high": 1.0}


def test_a_clear_winner_has_an_interval_above_zero() -> None:
    ours = _scores(**{f"p{n}": [1.0 + n % 3] for n in range(30)})
    theirs = _scores(**{f"p{n}": [0.0] for n in range(30)})
    (found,) = compare_prompts(ours, theirs, ["judge"])
    assert found.difference == pytest.approx(2.0)
    assert 1.5 < found.interval.low < 2.0 < found.interval.high < 2.5
    (again,) = compare_prompts(ours, theirs, ["judge"])
    assert again == found, "the bootstrap is seeded"


def test_only_shared_prompts_count_and_order_does_not() -> None:
    shuffled = dict(reversed(THEIRS.items())) | _scores(other=[9.0])
    assert compare_prompts(OURS, shuffled, ["judge"]) == compare_prompts(OURS, THEIRS, ["judge"])
    with pytest.raises(ValueError, match="share no prompt"):
        compare_prompts(OURS, _scores(z=[1.0]), ["judge"])


def test_gaps_are_sorted_the_worst_first() -> None:
    assert prompt_gaps(OURS, THEIRS, "judge") == {"c": -1.0, "b": 0.0, "a": 1.0}
    assert list(prompt_gaps(OURS, THEIRS, "judge")) == ["c", "b", "a"]


def test_the_answers_that_are_shown_differ_as_their_means_do() -> None:
    """The first answers to `a` are the same one; of `d` their one answer stands by all of ours."""
    ours = OURS | _scores(d=[2.0, 4.0, 9.0])
    found = telling_pairs(ours, THEIRS | _scores(d=[4.0]), "judge", most=2)
    assert [(one.id, one.difference, one.places, one.scores) for one in found] == [
        ("c", -1.0, (0, 0), (5.0, 6.0)),
        ("a", 1.0, (1, 1), (3.0, 1.0)),
        ("d", 1.0, (2, 0), (9.0, 4.0)),
    ]
    assert found[-1].answers == (3, 1)
