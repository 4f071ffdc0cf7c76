"""Gold of the playground earns the best achievable oracle reward."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.groups import Group, Message
from tasks.data.playground.world import build_world
from tasks.gold.playground_provider import PlaygroundProvider
from tasks.settings.errors import ConfigError
from tasks.storage.files import write_json
from tasks.storage.workspace import Workspace


def test_answers_are_worth_the_best_reward(tmp_path: Path) -> None:
    world = build_world(0, 4)
    write_json(tmp_path / "world.json", {"world": world.to_json()})
    from tasks.data.playground.prompts import fact_prompts

    texts = [text for text, _ in fact_prompts(world.entities)][:20]
    queries = [Group((Message("user", text),)) for text in [*texts, "not of this world"]]
    found = dict(PlaygroundProvider(tmp_path).answer(queries, Workspace(tmp_path / "w")))
    assert list(found) == [query.id for query in queries[:-1]]
    for query in queries[:-1]:
        reward = world.oracle_reward(query.prompt, found[query.id].text)
        assert reward == world.best_reward(query.prompt)


def test_missing_world_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"world\.json"):
        PlaygroundProvider(tmp_path)
