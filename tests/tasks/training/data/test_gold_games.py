"""D_APO as games: gold wins over every sample, at once or one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.training.data.gold_games import gold_games

PROMPT = (Message("user", "tea?"),)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (False, [(("gold", "a", "b"), (1, 0, 0))]),
        (True, [(("gold", "a"), (1, 0)), (("gold", "b"), (1, 0))]),
    ],
)
def test_gold_wins_over_every_sample(tmp_path: Path, split: bool, expected: list) -> None:
    """Without a sample there is no game."""
    write_groups(tmp_path, [Group(PROMPT, ("alone",)), Group(PROMPT, ("gold", "a", "b"), id="q")])
    found = [(one.responses, one.scores) for one in gold_games(tmp_path, split_samples=split)]
    assert found == expected
