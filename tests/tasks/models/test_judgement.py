"""Scores in shards: the reward model's own, in order, each shard scored once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group
from tasks.models import judgement
from tasks.models.judgement import ScoringConfig, score_in_shards, scored_groups
from tasks.models.loading import save_model
from tasks.models.reward_model import build_reward_model, load_reward_model
from tasks.models.tokenizer import load_tokenizer
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace

CONFIG = ScoringConfig(shard_size=2)


@pytest.fixture
def reward_folder(build: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(), tokenizer, tmp_path / "policy", "hh")
    model = build_reward_model(tmp_path / "policy", tokenizer, 0)
    save_model(model, tokenizer, tmp_path / "reward", "hh")
    return tmp_path / "reward"


@pytest.fixture
def responses(groups: list[Group], tmp_path: Path) -> Path:
    noted = [
        replace(group, extra={"ended": [k != 0 for k in range(len(group.responses))]})
        for group in groups
    ]
    write_groups(tmp_path / "responses", noted)
    return tmp_path / "responses"


def test_scores_are_those_of_the_model_and_nothing_else_changes(
    reward_folder: Path, responses: Path, tmp_path: Path
) -> None:
    space = Workspace(tmp_path / "work")
    figures = score_in_shards(reward_folder, responses, CONFIG, space, NullLog())
    assert space.part_names() == ["shard-00000", "shard-00001"]
    given, found = list(read_groups(responses)), list(read_groups(space.output))
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    for before, after in zip(given, found, strict=True):
        (alone,) = scored_groups(model, tokenizer, [before], CONFIG)
        assert after.scores == pytest.approx(alone.scores, abs=1e-5)
        assert replace(after, scores=None) == before
        assert before.scores is None
    flat = [score for group in found for score in group.scores]
    assert figures["mean_score"] == pytest.approx(sum(flat) / len(flat))
    assert figures["tied_share"] == pytest.approx(1 / 3)  # the group of one response


def test_an_unended_sample_scores_without_its_end(reward_folder: Path, groups: list[Group]) -> None:
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    cut = replace(groups[0], extra={"ended": [True, False]})
    (whole,), (open_end,) = (
        scored_groups(model, tokenizer, [group], CONFIG) for group in (groups[0], cut)
    )
    assert open_end.scores[0] == pytest.approx(whole.scores[0], abs=1e-5)
    assert open_end.scores[1] != pytest.approx(whole.scores[1], abs=1e-5)


def test_a_resumed_attempt_scores_only_what_is_missing(
    reward_folder: Path, responses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Workspace(tmp_path / "attempt-1"), Workspace(tmp_path / "attempt-2")
    expected = score_in_shards(reward_folder, responses, CONFIG, first, NullLog())
    first.drop_part("shard-00001")
    second.adopt_parts([first.path])
    scored: list[int] = []
    real = judgement.scored_groups

    def spy(model: Any, tokenizer: Any, groups: list[Group], config: Any) -> list[Group]:
        scored.append(len(groups))
        return real(model, tokenizer, groups, config)

    monkeypatch.setattr(judgement, "scored_groups", spy)
    assert score_in_shards(reward_folder, responses, CONFIG, second, NullLog()) == expected
    assert scored == [1]
    for path in first.output.iterdir():
        assert path.read_bytes() == (second.output / path.name).read_bytes()


def test_ties_are_counted_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = ()
    groups = [Group(prompt, ("a", "b"), id=name) for name in "pqrs"]
    rows = {"p": (1.0, 1.0), "q": (1.0, 2.0), "r": (0.0, 0.0), "s": (3.0, -1.0)}
    write_groups(tmp_path / "responses", groups)
    monkeypatch.setattr(judgement, "_load", lambda path: (None, None))
    monkeypatch.setattr(
        judgement,
        "scored_groups",
        lambda model, tokenizer, groups, config: [replace(g, scores=rows[g.id]) for g in groups],
    )
    figures = score_in_shards(
        tmp_path, tmp_path / "responses", CONFIG, Workspace(tmp_path / "work"), NullLog()
    )
    assert figures == {"mean_score": 7 / 8, "tied_share": 0.5}
