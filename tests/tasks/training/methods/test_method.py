"""Choosing responses keeps with each of them what is known of it."""

from __future__ import annotations

import pytest

from tasks.data.groups import Group, Message, finished
from tasks.settings.errors import ConfigError
from tasks.training.methods.method import keep_responses, require_scores
from tasks.training.methods.registry import METHODS

GROUP = Group(
    (Message("user", "tea?"),),
    ("a", "b", "c"),
    (1.0, 3.0, 2.0),
    ("policy", "gold", "human"),
    extra={
        "ended": [False, True, True],
        "tokens": [9, 2, 3],
        "ids": [[5, 6], None, [8]],
        "vocabulary": "ab",
        "row": "7",
    },
)


def test_everything_known_of_a_response_moves_with_it() -> None:
    kept = keep_responses(GROUP, [2, 0])
    assert kept.responses == ("c", "a")
    assert kept.scores == (2.0, 1.0)
    assert kept.sources == ("human", "policy")
    assert finished(kept) == (True, False)
    assert kept.extra == {
        "ended": [True, False],
        "tokens": [3, 9],
        "ids": [[8], [5, 6]],
        "vocabulary": "ab",
        "row": "7",
    }
    assert kept.id == GROUP.id
    assert GROUP.extra["ended"] == [False, True, True]


def test_what_nobody_noted_is_not_made_up() -> None:
    kept = keep_responses(Group((), ("a", "b"), extra={"row": "7"}), [1])
    assert (kept.scores, kept.sources, kept.extra) == (None, None, {"row": "7"})


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_selects_from_groups_as_the_sampler_writes_them(method: str) -> None:
    group = keep_responses(GROUP, [0]) if method == "sft" else GROUP
    for chosen in METHODS[method].select(group):
        original = dict(zip(GROUP.responses, finished(GROUP), strict=True))
        assert finished(chosen) == tuple(original[text] for text in chosen.responses)


def test_scores_are_required_with_the_methods_name() -> None:
    assert require_scores(GROUP, "dpo", at_least=3) == (1.0, 3.0, 2.0)
    with pytest.raises(ConfigError, match="dpo needs at least 4 scored responses .* has 3"):
        require_scores(GROUP, "dpo", at_least=4)
    with pytest.raises(ConfigError, match="score the responses first"):
        require_scores(Group((), ("a",)), "rjs")
