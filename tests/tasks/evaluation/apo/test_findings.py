"""Sentences that claim no more than the intervals allow."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.apo.findings import findings
from tasks.evaluation.apo.report import game_states


def said(run: Any) -> list[str]:
    states = game_states(run.games, run.reward_models)
    return findings(run.config, run.policies, run.reward_models, states)


def test_every_finding_of_a_run(apo_run: Any) -> None:
    assert said(apo_run) == [
        "RJS-v1 has moved: KL to the start 0.300 nats (95 %: 0.104 to 0.496)",
        "APO-RJS-v1 has moved: KL to the start 0.400 nats (95 %: 0.204 to 0.596)",
        "APO-RJS-v1 closes 25% of the gap between the start and the best achievable oracle reward "
        "(95 %: 10% to 40%)",
        "APO-RJS-v1 against RJS-v1 under RM_Test: +0.300 ± 0.100 per prompt, better",
        "APO-RJS-v1 against RJS-v1 under RM_All: -0.100 ± 0.100 per prompt, not decided",
        "epoch 1: on held-out prompts the adapted reward model ranks gold above fresh samples in "
        "90.0% (95 %: 85.4% to 93.3%), RM_Base in 80.0% (95 %: 75.8% to 83.6%); on human dev pairs "
        "62.0% ± 2.0% against 60.0% ± 2.0%",
        "after the last epoch: the policy has caught up: gold is told from fresh samples hardly "
        "better than by a coin, in 50% of pairs (95 %: 46% to 54%)",
        "APO-RJS-v1 answers with 16.0 tokens on average, the start with 10.0: look for length "
        "hacking",
        "APO-RJS-v1 ends 85% of its answers by itself, the start 100%: it is forgetting to stop",
        "RM_Test knows more than length: right on 80.0% of 400 held-out pairs (95 %: 75.8% to "
        "83.6%), length alone on 60.0%",
        "RM_All knows more than length: right on 82.0% of 400 held-out pairs (95 %: 77.8% to "
        "85.6%), length alone on 60.0%",
        "RM_Base knows more than length: right on 70.0% of 400 held-out pairs (95 %: 65.9% to "
        "73.8%), length alone on 60.0%",
        "RM_APO-v1 knows more than length: right on 72.0% of 400 held-out pairs (95 %: 67.9% to "
        "75.7%), length alone on 60.0%",
        "not shown: whether people would prefer the answers; every score here is that of a model "
        "of their preferences",
    ]


def test_what_people_judged_is_not_called_unknown(apo_run: Any) -> None:
    states = game_states(apo_run.games, apo_run.reward_models)
    found = findings(
        apo_run.config, apo_run.policies, apo_run.reward_models, states, by_people=True
    )
    assert found[:-1] == said(apo_run)[:-1]
    assert found[-1] == (
        "people judged the matches below; every other score here is that of a model of their "
        "preferences"
    )


def test_what_is_not_shown_is_said(apo_run: Any) -> None:
    """61 % ± 2 % is within its interval of the 60 % of length, and 0.1 ± 0.1 nats hold 0."""
    for model in apo_run.reward_models.values():
        model["test"]["figures"]["accuracy"] = 0.61
    apo_run.policies["RJS-v1"]["kl"] = {"value": 0.1, "standard_error": 0.1, "count": 2}
    sentences = said(apo_run)
    assert "RJS-v1 is not shown to have moved: KL to the start 0.100 nats" in sentences[0]
    assert "RM_Test is not shown to know more than length: right on 61.0%" in "".join(sentences)
    assert sentences[-1].endswith("preferences, and none of them is shown to know them")
    for model in apo_run.reward_models.values():
        model["test"]["figures"]["accuracy"] = 0.53
    assert "RM_Test is not shown to judge better than a coin: right on 53.0%" in "".join(
        said(apo_run)
    )
    # That the shorter answer wins is a rule of length too.
    apo_run.reward_models["RM_Test"]["test"]["figures"] |= {"longer_wins": 0.2, "accuracy": 0.8}
    assert said(apo_run)[-1] == sentences[-1]
    apo_run.policies["start"]["scores"]["oracle"] = apo_run.policies["start"]["scores"]["RM_Test"]
    assert not said(apo_run)[-1].startswith("not shown")


def test_the_reference_contenders_have_no_drift(apo_run: Any) -> None:
    """`chosen` is 40 times as long, in characters: no policy, so no hacking."""
    assert not any(sentence.startswith("chosen") for sentence in said(apo_run))


def test_without_a_game_or_an_oracle_there_is_less_to_say(apo_run: Any) -> None:
    apo_run.games = {}
    apo_run.policies["APO-RJS-v1"].pop("gap_closed")
    apo_run.policies["APO-RJS-v1"]["habits"] = apo_run.policies["start"]["habits"]
    sentences = [one for one in said(apo_run) if one.startswith(("RJS", "APO"))]
    assert [one.split()[1] for one in sentences] == ["has", "has", "against", "against"]


def test_nobody_catches_up_with_a_reward_model_that_never_told(apo_run: Any) -> None:
    """20 prompts: half of the pairs are told before the game, in it and after it.

    Wilson's interval of a half of 20 is 30 % to 70 %, of a half of 2,000 48 % to 52 %.
    """
    for game in apo_run.games.values():
        game["fresh"]["figures"] |= {"accuracy": 0.5, "accuracy_se": (0.25 / 20) ** 0.5}
    (last,) = [one for one in said(apo_run) if one.startswith("after the last epoch")]
    assert last == (
        "after the last epoch: undecided: gold is told from fresh samples in 50% of pairs (95 %: "
        "30% to 70%); no reward model of the game was shown to tell them before"
    )
    for game in apo_run.games.values():
        game["fresh"]["figures"]["accuracy_se"] = (0.25 / 2000) ** 0.5
    (last,) = [one for one in said(apo_run) if one.startswith("after the last epoch")]
    assert "caught up" not in last and "hardly better than by a coin" in last


def test_what_intervals_leave_open_is_not_claimed(apo_run: Any) -> None:
    """A gap that may not be closed, and habits that vary more than they changed."""
    ours = apo_run.policies["APO-RJS-v1"]
    ours["gap_closed"]["interval"] = {"low": -0.1, "high": 0.4}
    ours["habits"] |= {"length_se": 4.0, "ended_se": 0.1}
    ours["kl"]["count"] = 1
    ours["against"]["RJS-v1"]["RM_Test"] |= {"difference_se": 0.0, "prompts": 1.0}
    told = "\n".join(said(apo_run))
    assert "APO-RJS-v1 is not shown to close 25% of the gap" in told
    assert "hacking" not in told and "forgetting" not in told
    assert "APO-RJS-v1 is not shown to have moved" in told
    assert "under RM_Test: +0.300 ± 0.000 per prompt, not decided" in told
    ours["gap_closed"] |= {"share": -0.2, "interval": {"low": -0.3, "high": -0.1}}
    assert "APO-RJS-v1 falls back by 20% of the gap" in "\n".join(said(apo_run))


def test_a_start_that_leaves_no_gap_claims_nothing(apo_run: Any) -> None:
    apo_run.policies["APO-RJS-v1"]["gap_closed"] = {"share": None, "interval": None}
    assert not any("gap" in sentence for sentence in said(apo_run))


def test_a_change_inside_the_thresholds_is_no_finding(apo_run: Any) -> None:
    apo_run.policies["APO-RJS-v1"]["habits"] |= {"length": 15.0, "ended": 0.9}
    assert not any("hacking" in one or "forgetting" in one for one in said(apo_run))


def test_answers_that_the_limit_cuts_off_are_told(apo_run: Any) -> None:
    """More than a fifth of two policies' answers; 15 % of the third's are usual."""
    for name, ended in (("start", 0.04), ("RJS-v1", 0.79), ("APO-RJS-v1", 0.85), ("chosen", 0.0)):
        apo_run.policies[name]["habits"]["ended"] = ended
    (told,) = [one for one in said(apo_run) if "cut off" in one]
    assert told.startswith(
        "answers are cut off by evaluation.sampling.max_new_tokens before they end, 96% of "
        "start's, 21% of RJS-v1's: judges score"
    )


def test_what_must_be_known_about_the_gold_comes_first(apo_run: Any) -> None:
    apo_run.config = apo_run.config.model_copy(update={"gold_note": "no gold of its own"})
    assert said(apo_run)[0] == "no gold of its own"
