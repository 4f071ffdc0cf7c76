"""Planning says what would run and why, and runs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.stages.artifact import external_artifact
from tasks.stages.plan import planning


def _states(toy: Any, **arguments: Any) -> list[tuple[str, str, str, int]]:
    with planning() as run:
        toy.flow(**arguments)
    return [(item.title, item.state, item.reason, item.parts) for item in run.planned]


def test_before_and_after(toy: Any) -> None:
    assert _states(toy) == [
        ("shard · first", "to run", "never ran here", 0),
        ("shard · second", "to run", "never ran here", 0),
        ("join", "waiting", "waits for shard · first, shard · second", 0),
    ]
    assert toy.started() == []
    result = toy.flow()
    with planning() as run:
        assert toy.flow() == result
    assert [item.state for item in run.planned] == ["done"] * 3
    assert all(item.seconds is not None and item.seconds > 0 for item in run.planned)
    assert toy.started().count("join") == 1


def test_what_changed_is_named(toy: Any) -> None:
    toy.flow()
    assert _states(toy, shards=3)[0] == ("shard · first", "to run", "config.shards: 2 → 3", 0)
    toy.source.write_text("hello again")
    assert _states(toy)[1] == ("shard · second", "to run", "input source changed", 0)
    source = external_artifact(toy.source)
    with planning() as run:
        toy.shard(source, config=toy.config(), seed=5, label="first")
    assert run.planned[0].reason == "input source changed; seed: 1 → 5"


def test_finished_parts_are_counted(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = external_artifact(toy.source)
    scope = toy.shard.spec.body.__globals__
    real, count = scope["_write"], iter(range(9))

    def fail_at_third(*arguments: Any) -> None:
        if next(count) == 2:
            raise ValueError("no more")
        real(*arguments)

    monkeypatch.setitem(scope, "_write", fail_at_third)
    with pytest.raises(ValueError):
        toy.shard(source, config=toy.config(shards=4), seed=1)
    with planning() as run:
        toy.shard(source, config=toy.config(shards=4), seed=1)
    assert (run.planned[0].state, run.planned[0].parts) == ("partly done", 2)


def test_a_lost_output_is_a_reason(toy: Any) -> None:
    result = toy.flow()
    (result.path / "text").unlink()
    assert _states(toy)[2] == ("join", "to run", "its output is damaged: text is missing", 0)
