"""Cleaning: each reason on a record made for it, and what stays is untouched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.data.cleaning import Cleaner
from tasks.data.groups import Group, Message

PROMPT = (Message("user", "hi"),)


def group(*responses: str, scores: tuple[float, ...] | None = None, text: str = "hi") -> Group:
    if scores is None:
        scores = tuple(float(len(responses) - k) for k in range(len(responses)))
    return Group((Message("user", text),), responses, scores)


def clean(needs: int, *groups: Group) -> tuple[list[Group], dict[str, int]]:
    cleaner = Cleaner(needs)
    return list(cleaner.clean(iter(groups))), dict(cleaner.dropped)


def test_preferences_lose_what_compares_nothing() -> None:
    good = group("a", "b")
    kept, dropped = clean(
        2,
        good,
        group("", "b"),
        group("a", " \n"),
        group("a b", "a\n b "),
        group("a", "b", scores=(1.0, 1.0)),
        group("a"),
        Group(PROMPT, ("a", "b")),
        group("x", "y", text=" "),
        group(" a", "b "),
    )
    assert kept == [good]
    assert dropped == {
        "empty": 3,
        "identical": 1,
        "tied": 1,
        "no_comparison": 2,
        "duplicate": 1,
    }


def test_a_group_of_many_loses_only_its_empty_and_repeated_responses() -> None:
    kept, dropped = clean(2, group("a", "", "b", "a ", scores=(4.0, 3.0, 2.0, 1.0)))
    assert kept == [group("a", "b", scores=(4.0, 2.0))]
    assert dropped == {}


def test_the_same_prompt_with_other_responses_stays() -> None:
    groups = [group("a", "b"), group("b", "a"), group("a", "c"), group("a", "b", text="ho")]
    assert clean(2, *groups) == (groups, {})


def test_demonstrations_keep_one_response() -> None:
    kept, dropped = clean(1, group("a", "b"), group("a"), group("", "b"), group())
    assert kept == [Group(PROMPT, ("a",))]
    assert dropped == {"duplicate": 1, "empty": 2}


def test_queries_keep_one_golden_response_and_come_once() -> None:
    gold = Group(PROMPT, ("best",), sources=("gold",))
    kept, dropped = clean(0, gold, Group(PROMPT), group("a", "b", text="ho"), group(" ", text="hu"))
    assert kept == [gold, Group((Message("user", "ho"),)), Group((Message("user", "hu"),))]
    assert dropped == {"duplicate": 1}


TEXT = st.sampled_from(["", " ", "a", "a ", "b"])


@given(st.lists(st.builds(lambda a, b, t: group(a, b, text=t), TEXT, TEXT, TEXT)))
def test_every_record_is_kept_or_counted_and_cleaning_again_changes_nothing(
    groups: list[Group],
) -> None:
    before = list(groups)
    kept, dropped = clean(2, *groups)
    assert groups == before
    assert len(kept) + sum(dropped.values()) == len(groups)
    assert clean(2, *kept) == (kept, {})
