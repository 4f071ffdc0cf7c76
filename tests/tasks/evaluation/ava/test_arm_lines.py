"""Duels and lines of an AVA report, worked out by hand on four prompts."""

from __future__ import annotations

import pytest

from tasks.evaluation.ava.arm_lines import contender, duel, lines_of, verdict
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tasks.evaluation.metrics.estimates import Estimate
from tasks.settings.errors import ConfigError
from tests.tasks.evaluation.ava.evaluations import START, entry, evaluation

OURS = entry("AVA-p", "direct", "ava_p")
DPO = [entry("DPO", "direct", "dpo", seed=seed) for seed in (0, 1)]
FOUND = {
    "start": evaluation([0, 0, 0, 0], "abcd"),
    "AVA-p s0": evaluation([1, 1, 0, -1], "axyz", kl=0.5),
    "DPO s0": evaluation([0, 1, 1, -1], "avwz", kl=0.3),
    "DPO s1": evaluation([0, 1, 1, -2], "ovwz", kl=0.5),
}


def test_a_line_is_an_arm_with_its_seeds() -> None:
    lines = lines_of([START, DPO[0], OURS, DPO[1]])
    assert [(line.name, len(line.entries)) for line in lines] == [
        ("start", 1),
        ("DPO", 2),
        ("AVA-p", 1),
    ]


def test_equal_texts_and_equal_scores_are_ties() -> None:
    """p: equal texts, whatever the scores; q: equal scores; r: lost; s: equal texts.

    Against seed 1 the texts of p differ, so that it is won.
    """
    ours, first, both = lines_of([OURS])[0], lines_of(DPO[:1])[0], lines_of(DPO)[0]
    one = duel(ours, first, FOUND, "oracle")
    assert (one.win.value, one.tie.value, one.lose.value) == (0.0, 0.75, 0.25)
    assert one.identical.value == 0.5
    assert one.lead.value == -0.25 and one.verdict == "undecided"
    met = duel(ours, both, FOUND, "oracle")
    assert (met.win.value, met.tie.value, met.lose.value) == (0.125, 0.625, 0.25)
    assert met.identical.value == 0.375 and met.lead.count == 2
    back = duel(both, ours, FOUND, "oracle")
    assert (back.win.value, back.lose.value) == (met.lose.value, met.win.value)


def test_the_other_judge_sees_it_the_other_way_round() -> None:
    ours, first = lines_of([OURS])[0], lines_of(DPO[:1])[0]
    assert duel(ours, first, FOUND, "RM_Test").win.value == 0.25


def test_a_verdict_wants_an_interval_without_0() -> None:
    assert verdict(Estimate(-0.3, 0.1, 4)) == "behind"
    assert verdict(Estimate(0.0, 0.0, 4)) == "undecided"


def test_rewards_and_kl_over_seeds() -> None:
    found = contender(lines_of(DPO)[0], FOUND, "oracle")
    assert found.reward.value == pytest.approx((0.25 + 0.0) / 2)
    assert found.kl is not None and found.kl.value == pytest.approx(0.4)
    assert found.by_prompt[1] == {"p": 0.0, "q": 1.0, "r": 1.0, "s": -2.0}
    assert contender(lines_of([START])[0], FOUND, "oracle").kl is None
    picked = entry("BoN w/ AVA-p", "best_of_n", "ava_p", responses=4)
    kl = contender(lines_of([picked])[0], {picked.name: FOUND["start"]}, "oracle").kl
    assert kl is not None and kl.value == best_of_n_kl(4)


def test_what_nobody_measured_is_named() -> None:
    ours, other = lines_of([OURS])[0], lines_of([entry("SFT", "direct", "sft")])[0]
    with pytest.raises(ConfigError, match="'SFT s0' has no evaluation"):
        duel(ours, other, FOUND, "oracle")
    with pytest.raises(ConfigError, match="'AVA-p s0' has no scores of 'RM_All'"):
        contender(ours, FOUND, "RM_All")
