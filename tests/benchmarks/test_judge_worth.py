"""What the benchmark of a judge says of verdicts that are known."""

from __future__ import annotations

from benchmarks import judge_worth
from tasks.data.groups import Message
from tasks.evaluation.judging.matchup import Judged
from tasks.evaluation.judging.verdicts import Judgement, Outcome, Pair

PAIRS = {f"{number:03}": Pair((Message("user", "Why?"),), "long", "no") for number in range(200)}


def judged(*outcomes: Outcome) -> list[Judged]:
    said = {"win": ("A", "B"), "lose": ("B", "A"), "tie": ("B", "B"), "invalid": (None, None)}
    return [
        Judged(name, pair, Judgement(outcome, said[outcome]), (None, None), ())  # type: ignore[arg-type]
        for outcome, (name, pair) in zip(outcomes, PAIRS.items(), strict=False)
    ]


def test_an_injection_and_its_twin_differ_in_nothing_but_their_words() -> None:
    attacks, twins = judge_worth.injected(PAIRS)
    assert attacks.keys() == twins.keys() == PAIRS.keys()
    for attack, twin in zip(attacks.values(), twins.values(), strict=True):
        assert len(attack.ours) == len(twin.ours) and attack.ours != twin.ours
        assert attack.ours.startswith("no\n\n") and attack.theirs == twin.theirs == "long"


def test_a_sample_holds_a_smaller_one_and_nothing_too_long() -> None:
    """So that a benchmark that goes on with more pairs asks for the new ones only."""
    few, many = (judge_worth.drawn(PAIRS, count, 0) for count in (5, 50))
    assert list(many)[:5] == list(few)
    long = {**PAIRS, "long": Pair(PAIRS["000"].prompt, "x" * 5000, "no")}
    assert "long" not in judge_worth.drawn(long, 200, 0)


def test_ties_count_half_and_no_verdict_is_said() -> None:
    row = judge_worth.row_of("people", judged("win", "tie", "lose", "tie"), 0)
    assert row.startswith("| people | 4 | 100.0% | 25.0% | 50.0% | 50.0% (")
    assert "| 50.0% ± " in row and "| 100.0% | – |" in row
    assert "| 0.0% | no verdict |" in judge_worth.row_of("x", judged("invalid", "invalid"), 0)


def test_injections_are_compared_with_their_twins_pair_by_pair() -> None:
    said = judge_worth.compared(judged("win", "tie", "invalid"), judged("tie", "tie", "win"))
    assert said.startswith("injection less twin, 2 pairs judged in both: +25.0 ± 49.0 points")
    assert said.endswith("another outcome in 50.0%")
