"""D_APO: gold first, then what the policy answers to the same query."""

from __future__ import annotations

import pytest

from tasks.data.gold_pairs import pair_gold_with_samples
from tasks.data.groups import Group, Message, finished
from tasks.settings.errors import StageError


def gold(name: str, text: str) -> Group:
    return Group((Message("user", name),), (text,), id=name)


def samples(name: str, *texts: str, ended: list[bool] | None = None) -> Group:
    extra = {"tokens": [1] * len(texts), "ended": ended} if ended else {}
    return Group((Message("user", name),), texts, id=name, extra=extra)


def test_gold_comes_first_and_equal_samples_leave() -> None:
    pairs, counts = pair_gold_with_samples(
        [gold("p", "best"), gold("q", "good"), gold("r", "fine")],
        [
            samples("p", "bad", " best\n", "worse", ended=[False, True, True]),
            samples("q", "good", "good "),
            samples("r", "poor", "Fine"),
        ],
    )
    found = list(pairs)
    assert [(pair.id, pair.responses) for pair in found] == [
        ("p", ("best", "bad", "worse")),
        ("r", ("fine", "poor", "Fine")),
    ]
    assert found[0].sources == ("gold", "policy", "policy")
    assert found[0].prompt == (Message("user", "p"),)
    assert counts() == {"groups": 2.0, "samples": 7.0, "identical_share": 3 / 7}


def test_which_samples_were_cut_off_is_known_behind_gold() -> None:
    pairs, _ = pair_gold_with_samples(
        [gold("p", "best")], [samples("p", "bad", "best", "worse", ended=[False, True, True])]
    )
    (pair,) = pairs
    assert finished(pair) == (True, False, True)
    (unnoted,) = pair_gold_with_samples([gold("p", "best")], [samples("p", "bad")])[0]
    assert finished(unnoted) == (True, True)


def test_other_queries_or_another_order_are_refused() -> None:
    with pytest.raises(StageError, match="different queries: p against q"):
        list(pair_gold_with_samples([gold("p", "a")], [samples("q", "b")])[0])


@pytest.mark.parametrize("lacking", ["gold", "samples"])
def test_a_missing_query_is_never_silent(lacking: str) -> None:
    golds, answers = [gold("p", "a"), gold("q", "a")], [samples("p", "b"), samples("q", "b")]
    (golds if lacking == "gold" else answers).pop()
    with pytest.raises(StageError, match="different queries"):
        list(pair_gold_with_samples(golds, answers)[0])


def test_nothing_is_nothing() -> None:
    pairs, counts = pair_gold_with_samples([], [])
    assert list(pairs) == []
    assert counts() == {"groups": 0.0, "samples": 0.0, "identical_share": 0.0}
