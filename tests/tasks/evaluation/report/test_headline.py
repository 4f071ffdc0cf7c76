"""Who won, by how much, at what KL: by hand on three prompts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tasks.evaluation.metrics.estimates import Estimate, mean_estimate
from tasks.evaluation.metrics.judge_accuracy import judge_accuracy
from tasks.evaluation.report.headline import Contender, headline, lead_of, summary_table
from tasks.evaluation.report.tables import shown


def contender(name: str, rewards: Sequence[float], kl: float | None = 1.0) -> Contender:
    scored = {str(prompt): value for prompt, value in enumerate(rewards)}
    distance = None if kl is None else Estimate(kl, 0.1, len(rewards))
    return Contender(name, mean_estimate(rewards), [scored], distance)


START = contender("start", [0.0, 1.0, 2.0], None)
BETTER = contender("DPO", [1.0, 2.1, 2.9], 0.98)
BEST = contender("APO-DPO", [2.0, 3.0, 4.0], 1.24)


def test_a_clear_winner_leads_by_the_paired_difference() -> None:
    """The gaps 1, 0.9, 1.1 are 1 on average, with an error of 0.1 / √3 = 0.058."""
    assert headline([START, BETTER, BEST], "oracle") == (
        "APO-DPO wins by 1.000 oracle reward (95 %: +0.887 to +1.113) over DPO, at KL 1.24 nats "
        "(DPO: at KL 0.98 nats)"
    )


def test_a_lead_within_its_error_is_undecided() -> None:
    noisy = contender("DPO", [9.0, -3.0, -2.0])
    assert headline([START, noisy], "RM").startswith("undecided: DPO leads by 0.333 RM reward")


def test_who_is_undecided_against_the_start_is_named() -> None:
    noisy = contender("PPO", [-3.0, 5.0, 2.5])
    said = headline([START, BEST, noisy], "RM")
    assert said.endswith(". Undecided against start: PPO")


def test_nobody_wins_by_a_judge_in_doubt() -> None:
    """Right on 26 of 50, length on 60 %: the lead is clear, what it means is not."""
    figures = {"accuracy": 0.52, "accuracy_se": 0.07, "accuracy_pairs": 50.0, "longer_wins": 0.4}
    known = [judge_accuracy("RM", figures), judge_accuracy("RM_All", figures | {"accuracy": 0.9})]
    said = headline([START, BETTER, BEST], "RM", known)
    assert said.startswith("undecided: APO-DPO leads by 1.000 RM reward (95 %: +0.887 to")
    assert ". But RM is not shown to judge better than a coin: right on 52.0% of 50" in said
    assert headline([START], "RM", known).endswith("length alone on 60.0%")
    assert headline([START, BEST], "RM_All", known).startswith("APO-DPO wins")
    assert headline([START, BEST], "oracle", known).startswith("APO-DPO wins")


def test_one_prompt_decides_nothing() -> None:
    assert headline([contender("start", [0.0], None), contender("DPO", [2.0])], "RM") == (
        "undecided: DPO leads by 2.000 RM reward (of a single test prompt) over start, at KL 1.00 "
        "nats from it"
    )


def test_where_nothing_beats_the_start_it_wins() -> None:
    worse = contender("PPO", [-1.0, 0.0, 1.0], 7.0)
    assert headline([START, worse], "RM").endswith("over PPO, which is at KL 7.00 nats from it")
    assert headline([START], "RM") == "start has a RM reward of 1.000; nothing to compare"


def test_seeds_add_to_the_error() -> None:
    """Seeds lead by 1 and by 3 at every prompt: 2 on average, with an error of 1."""
    seeds = [{"p": 1.0, "q": 2.0}, {"p": 3.0, "q": 4.0}]
    twice = Contender("DPO", Estimate(2.5, 1.0, 2), seeds, None)
    lead = lead_of(twice, contender("start", [0.0]))
    assert lead.count == 2 and lead.value == 0.0, "no prompt in common is no lead"
    lead = lead_of(twice, Contender("start", Estimate(0.5, 0.0, 2), [{"p": 0.0, "q": 1.0}], None))
    assert (lead.value, lead.standard_error) == pytest.approx((2.0, 1.0))


def test_the_table_has_the_best_first_and_fits_eighty_columns() -> None:
    header, rows = shown(summary_table([START, BETTER, BEST], "oracle"))
    assert header == ["Policy", "oracle reward", "over start", "KL, nats"]
    assert rows[0] == ["APO-DPO", "3.000 ± 0.577", "+2.000 ± 0.000", "1.240 ± 0.100"]
    assert [row[0] for row in rows] == ["APO-DPO", "DPO", "start"]
    assert rows[2][2:] == ["–", "–"]
