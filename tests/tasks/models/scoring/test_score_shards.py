"""Scores in shards: the reward model's own, in order, each shard scored once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group
from tasks.models.loading import save_model
from tasks.models.reward_model import load_reward_model
from tasks.models.scoring import score_shards
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.score_shards import score_in_shards, scored_groups
from tasks.models.scoring.scorers import RewardModelScorer
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import StageError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tests.tasks.models.random_heads import random_reward_model

CONFIG = ScoringConfig(shard_size=2, precision="fp32")


def scored(
    model: Any, tokenizer: Any, groups: list[Group], config: ScoringConfig = CONFIG
) -> list[Group]:
    return scored_groups(RewardModelScorer(model, tokenizer, config), groups, NullLog())


@pytest.fixture
def reward_folder(build: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(), tokenizer, tmp_path / "policy", "hh")
    model = random_reward_model(tmp_path / "policy", tokenizer, 0)
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
    metrics = score_in_shards(reward_folder, responses, CONFIG, space, NullLog())
    assert space.part_names() == ["shard-00000", "shard-00001"]
    given, found = list(read_groups(responses)), list(read_groups(space.output))
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    for before, after in zip(given, found, strict=True):
        (alone,) = scored(model, tokenizer, [before])
        assert after.scores == pytest.approx(alone.scores, abs=1e-5)
        assert replace(after, scores=None) == before
        assert before.scores is None
    flat = [score for group in found for score in group.scores]
    assert metrics["mean_score"] == pytest.approx(sum(flat) / len(flat))
    assert metrics["tied_share"] == pytest.approx(1 / 3)  # the group of one response


def test_an_unended_sample_scores_without_its_end(reward_folder: Path, groups: list[Group]) -> None:
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    cut = replace(groups[0], extra={"ended": [True, False]})
    (whole,), (open_end,) = (scored(model, tokenizer, [group]) for group in (groups[0], cut))
    assert open_end.scores[0] == pytest.approx(whole.scores[0], abs=1e-5)
    assert open_end.scores[1] != pytest.approx(whole.scores[1], abs=1e-5)


def test_scores_in_bf16_are_close_and_not_rounded(reward_folder: Path, groups: list[Group]) -> None:
    """Arithmetic in 8 bits of mantissa, yet rewards themselves have 24, or ties would appear."""
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    found = {}
    for precision in ("fp32", "bf16"):
        config = CONFIG.model_copy(update={"precision": precision})
        rows = scored(model, tokenizer, groups, config)
        found[precision] = torch.tensor([s for group in rows for s in group.scores])
    distance = (found["bf16"] - found["fp32"]).norm() / found["fp32"].norm()
    assert 0 < distance < 0.05
    assert not torch.equal(found["bf16"], found["bf16"].bfloat16().float())


def test_a_resumed_attempt_scores_only_what_is_missing(
    reward_folder: Path, responses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Workspace(tmp_path / "attempt-1"), Workspace(tmp_path / "attempt-2")
    expected = score_in_shards(reward_folder, responses, CONFIG, first, NullLog())
    first.drop_part("shard-00001")
    second.adopt_parts([first.path])
    scored: list[int] = []
    real = RewardModelScorer.score

    def spy(scorer: RewardModelScorer, groups: list[Group]) -> list[list[float]]:
        scored.append(len(groups))
        return real(scorer, groups)

    monkeypatch.setattr(RewardModelScorer, "score", spy)
    assert score_in_shards(reward_folder, responses, CONFIG, second, NullLog()) == expected
    assert scored == [1]
    for path in first.output.iterdir():
        assert path.read_bytes() == (second.output / path.name).read_bytes()


def test_ties_are_counted_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = ()
    groups = [Group(prompt, ("a", "b"), id=name) for name in "pqrs"]
    rows = {"p": [1.0, 1.0], "q": [1.0, 2.0], "r": [0.0, 0.0], "s": [3.0, -1.0]}
    write_groups(tmp_path / "responses", groups)

    class Fixed:
        def score(self, groups: list[Group]) -> list[list[float]]:
            return [rows[group.id] for group in groups]

        def note_cut(self, log: Any) -> None:
            pass

    monkeypatch.setattr(score_shards, "open_scorer", lambda path, config, log: Fixed())
    metrics = score_in_shards(
        tmp_path, tmp_path / "responses", CONFIG, Workspace(tmp_path / "work"), NullLog()
    )
    assert metrics == {"mean_score": 7 / 8, "tied_share": 0.5}


def test_bf16_scores_stay_close_and_are_float32(reward_folder: Path, groups: list[Group]) -> None:
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    exact = scored(model, tokenizer, groups)
    rough = scored(model, tokenizer, groups, replaced(precision="bf16"))
    flat = [[score for group in found for score in group.scores] for found in (exact, rough)]
    assert flat[0] != flat[1]
    assert flat[1] == pytest.approx(flat[0], abs=0.05)


def test_a_score_that_is_no_number_stops_by_name(reward_folder: Path, groups: list[Group]) -> None:
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    with pytest.raises(
        StageError, match=f"response 0 of the group {groups[0].id} “.*” the value nan"
    ):
        scored(model, tokenizer, groups)


def test_what_cannot_share_prompts_is_said(
    reward_folder: Path, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    log = NullLog()
    monkeypatch.setattr(log, "note", notes.append, raising=False)
    model, tokenizer = load_reward_model(reward_folder), load_tokenizer(reward_folder)
    shared = scored_groups(RewardModelScorer(model, tokenizer, CONFIG, log), groups, log)
    assert not notes
    monkeypatch.setattr("tasks.models.groups.group_model.disagreement", lambda *ways: 1.0)
    plain = scored_groups(RewardModelScorer(model, tokenizer, CONFIG, log), groups, log)
    assert len(notes) == 1 and "does not share prompts" in notes[0]
    for ours, theirs in zip(shared, plain, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)


def replaced(**changes: Any) -> ScoringConfig:
    return ScoringConfig.model_validate({**CONFIG.model_dump(), **changes})
