"""Whatever can score is known by its content and scores groups alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.data.playground.world import World, build_world
from tasks.models.loading import save_model
from tasks.models.reward_model import load_reward_model
from tasks.models.scoring.classifier import Classifier, Hashing, save_classifier
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.score_shards import score_in_shards, scored_groups
from tasks.models.scoring.scorers import (
    ClassifierScorer,
    RewardModelScorer,
    WorldScorer,
    open_scorer,
)
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.files import write_json
from tasks.storage.workspace import Workspace
from tests.tasks.models.random_heads import random_reward_model
from tests.tasks.training.conftest import RecordingLog

CONFIG = ScoringConfig(precision="fp32", shard_size=2)


@pytest.fixture
def reward_folder(build: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(), tokenizer, tmp_path / "policy", "hh")
    model = random_reward_model(tmp_path / "policy", tokenizer, 0)
    save_model(model, tokenizer, tmp_path / "reward", "hh")
    return tmp_path / "reward"


@pytest.fixture
def classifier_folder(tmp_path: Path) -> Path:
    weights = np.arange(32, dtype=np.float32)
    save_classifier(Classifier(Hashing(2, 32), weights, 0.5), tmp_path / "classifier")
    return tmp_path / "classifier"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = build_world(0, 8)
    write_json(tmp_path / "playground/world.json", {"world": made.to_json()})
    return made


def test_only_what_is_lost_is_said(reward_folder: Path, tmp_path: Path) -> None:
    """Long prompts with short answers: no word of zero answers."""
    limits = Limits(max_tokens=12, on_long_response="truncate_without_eos")
    config = CONFIG.model_copy(update={"limits": limits})
    prompt = (Message("user", "what is 1 plus 2 plus 3 plus 4?"),)
    write_groups(tmp_path / "responses", [Group(prompt, ("7",))])
    log = RecordingLog()
    score_in_shards(reward_folder, tmp_path / "responses", config, Workspace(tmp_path / "w"), log)
    assert log.notes[-1] == "1 prompts lost their beginning"


def test_what_a_scorer_does_not_read_whole_is_said(reward_folder: Path, tmp_path: Path) -> None:
    limits = Limits(max_tokens=12, on_long_response="truncate_without_eos")
    config = CONFIG.model_copy(update={"limits": limits})
    prompt = (Message("user", "what is 1 plus 2 plus 3 plus 4?"),)
    groups = [Group(prompt, (text,)) for text in ("7", "it is a rather long answer " * 3)]
    write_groups(tmp_path / "responses", groups)
    log = RecordingLog()
    score_in_shards(reward_folder, tmp_path / "responses", config, Workspace(tmp_path / "w"), log)
    assert log.notes[-1] == (
        "of 2 responses, 1 are longer than the 11 tokens that the scorer reads, and are scored "
        "without their end; 2 prompts lost their beginning"
    )


def asked(world: World, count: int = 3) -> list[Group]:
    """Prompts of the world, each with its best answer and with nonsense."""
    prompts = [(Message("user", text),) for text in list(world._first_turns)[:count]]
    return [Group(prompt, (world.best_response(prompt), "hm")) for prompt in prompts]


def test_a_reward_model_scores_as_it_does_alone(reward_folder: Path, groups: list[Group]) -> None:
    scorer = open_scorer(reward_folder, CONFIG)
    assert isinstance(scorer, RewardModelScorer)
    alone = RewardModelScorer(scorer.model, scorer.tokenizer, CONFIG)
    expected = scored_groups(alone, groups, RecordingLog())
    assert scorer.score(groups) == [list(group.scores or ()) for group in expected]


def test_a_reward_model_is_kept_as_it_computes(reward_folder: Path, groups: list[Group]) -> None:
    """Half the memory, and not a bit of a reward changes."""
    scorer = open_scorer(reward_folder, CONFIG.model_copy(update={"precision": "bf16"}))
    assert isinstance(scorer, RewardModelScorer)
    kinds = {name: parameter.dtype for name, parameter in scorer.model.named_parameters()}
    linear = [name for name, part in scorer.model.named_modules() if isinstance(part, nn.Linear)]
    assert {kinds.pop(f"{name}.weight") for name in linear if name != "score"} == {torch.bfloat16}
    assert {kind for name, kind in kinds.items() if "proj" not in name} == {torch.float32}
    whole = RewardModelScorer(
        load_reward_model(reward_folder, dtype="float32"),
        scorer.tokenizer,
        CONFIG.model_copy(update={"precision": "bf16"}),
    )
    assert scorer.score(groups) == whole.score(groups)
    assert {p.dtype for p in open_scorer(reward_folder, CONFIG).model.parameters()} == {
        torch.float32
    }


def test_what_cannot_be_shared_is_said_once(
    reward_folder: Path, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.models.groups.group_model.disagreement", lambda *ways: 1.0)
    log = RecordingLog()
    scorer = open_scorer(reward_folder, CONFIG, log)
    scorer.score(groups)
    scorer.score(groups)
    assert len(log.notes) == 1 and "does not share prompts" in log.notes[0]


def test_a_classifier_reads_prompt_and_response_as_one_text(
    classifier_folder: Path,
) -> None:
    scorer = open_scorer(classifier_folder, CONFIG)
    assert isinstance(scorer, ClassifierScorer)
    prompt = (Message("user", "It is a fi"),)
    rows = scorer.score(
        [Group(prompt, ("ne film", "le on film")), Group(prompt), Group((), ("x",))]
    )
    whole = scorer._classifier.log_odds(["It is a fine film", "It is a file on film", "x"])
    assert rows == [whole[:2], [], whole[2:]]


@pytest.mark.parametrize("place", ["playground", "playground/world.json"])
def test_the_playground_gives_its_true_reward(world: World, tmp_path: Path, place: str) -> None:
    scorer = open_scorer(tmp_path / place, CONFIG)
    assert isinstance(scorer, WorldScorer)
    groups = asked(world)
    rows = scorer.score(groups)
    for group, (best, nonsense) in zip(groups, rows, strict=True):
        assert best == pytest.approx(world.best_reward(group.prompt))
        assert nonsense == world.oracle_reward(group.prompt, "hm") < best


def test_a_prompt_from_elsewhere_is_named(world: World, tmp_path: Path) -> None:
    scorer = open_scorer(tmp_path / "playground", CONFIG)
    stranger = Group((Message("user", "who are you?"),), ("me",))
    with pytest.raises(ConfigError, match=f"cannot judge the group {stranger.id}.*who are you"):
        scorer.score([stranger])


def test_the_stage_takes_every_scorer(
    world: World, classifier_folder: Path, reward_folder: Path, tmp_path: Path
) -> None:
    """All three through `score_in_shards`: the groups are those given, the scores the scorer's."""
    groups = asked(world, 5)
    write_groups(tmp_path / "responses", groups)
    for name in ("playground/world.json", "classifier", "reward"):
        space = Workspace(tmp_path / "work" / name)
        metrics = score_in_shards(tmp_path / name, tmp_path / "responses", CONFIG, space, NullLog())
        found = [list(group.scores or ()) for group in read_groups(space.output)]
        for row, expected in zip(
            found, open_scorer(tmp_path / name, CONFIG).score(groups), strict=True
        ):
            assert row == pytest.approx(expected, abs=1e-5)
        assert metrics["mean_score"] == pytest.approx(np.mean(found))
        assert space.part_names() == ["shard-00000", "shard-00001", "shard-00002"]


def test_what_cannot_score_is_refused(tmp_path: Path, build: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="nothing at .* can score: expected a reward model's"):
        open_scorer(tmp_path, CONFIG)
    with pytest.raises(ConfigError, match="nothing at .*nowhere can score"):
        open_scorer(tmp_path / "nowhere", CONFIG)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not a playground world"):
        open_scorer(tmp_path / "a.json", CONFIG)
    save_model(build(), tokenizer, tmp_path / "policy", "hh")
    with pytest.raises(ConfigError, match="lacks 1 weights|no reward model"):
        open_scorer(tmp_path / "policy", CONFIG)
