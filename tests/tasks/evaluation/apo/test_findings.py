"""Sentences that claim no more than the intervals allow."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.apo.findings import findings
from tasks.evaluation.apo.report import game_states


def said(run: Any) -> list[str]:
    states = game_states(run.games, run.reward_models)
    return findings(run.config, run.policies, states)


def test_every_finding_of_a_run(apo_run: Any) -> None:
    assert said(apo_run) == [
        "APO-RJS-v1 closes 25% of the gap between the start and the best achievable oracle reward "
        "(95 %: 10% to 40%)",
        "APO-RJS-v1 against RJS-v1 under RM_Test: +0.300 ± 0.100 per prompt, better",
        "APO-RJS-v1 against RJS-v1 under RM_All: -0.100 ± 0.100 per prompt, not decided",
        "epoch 1: on held-out prompts the adapted reward model ranks gold above fresh samples in "
        "90.0%, RM_Base in 80.0%; on human dev pairs 62.0% against 60.0%",
        "after the last epoch: the policy has caught up: gold is told from fresh samples no "
        "better than by a coin",
        "APO-RJS-v1 answers with 16.0 tokens on average, the start with 10.0: look for length "
        "hacking",
        "APO-RJS-v1 ends 85% of its answers by itself, the start 100%: it is forgetting to stop",
    ]


def test_the_reference_contenders_have_no_drift(apo_run: Any) -> None:
    """`chosen` is 40 times as long, in characters: no policy, so no hacking."""
    assert not any(sentence.startswith("chosen") for sentence in said(apo_run))


def test_without_a_game_or_an_oracle_there_is_less_to_say(apo_run: Any) -> None:
    apo_run.games = {}
    apo_run.policies["APO-RJS-v1"].pop("gap_closed")
    apo_run.policies["APO-RJS-v1"]["habits"] = apo_run.policies["start"]["habits"]
    assert [sentence.split()[1] for sentence in said(apo_run)] == ["against", "against"]


def test_a_start_that_leaves_no_gap_claims_nothing(apo_run: Any) -> None:
    apo_run.policies["APO-RJS-v1"]["gap_closed"] = {"share": None, "interval": None}
    assert not any("gap" in sentence for sentence in said(apo_run))


def test_a_change_inside_the_thresholds_is_no_finding(apo_run: Any) -> None:
    apo_run.policies["APO-RJS-v1"]["habits"] |= {"length": 15.0, "ended": 0.9}
    assert not any("hacking" in one or "forgetting" in one for one in said(apo_run))


def test_what_must_be_known_about_the_gold_comes_first(apo_run: Any) -> None:
    apo_run.config = apo_run.config.model_copy(update={"gold_note": "no gold of its own"})
    assert said(apo_run)[0] == "no gold of its own"
