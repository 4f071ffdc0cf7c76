"""Choosing responses keeps with each of them what is known of it."""

from __future__ import annotations

import pytest

from tasks.data.groups import Group, Message, finished
from tasks.data.selection import keep_responses
from tasks.settings.errors import ConfigError
from tasks.training.methods.method import require_scores
from tasks.training.methods.registry import GROUP_METHODS

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


@pytest.mark.parametrize("method", sorted(GROUP_METHODS))
def test_every_method_selects_from_groups_as_the_sampler_writes_them(method: str) -> None:
    group = keep_responses(GROUP, [0]) if method == "sft" else GROUP
    for chosen in GROUP_METHODS[method].select(group):
        original = dict(zip(GROUP.responses, finished(GROUP), strict=True))
        assert finished(chosen) == tuple(original[text] for text in chosen.responses)


def test_scores_are_required_with_the_methods_name() -> None:
    assert require_scores(GROUP, "dpo", at_least=3) == (1.0, 3.0, 2.0)
    with pytest.raises(ConfigError, match="dpo needs at least 4 scored responses .* has 3"):
        require_scores(GROUP, "dpo", at_least=4)
    with pytest.raises(ConfigError, match="score the responses first"):
        require_scores(Group((), ("a",)), "rjs")
