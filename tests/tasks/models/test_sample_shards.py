"""Sampling in shards: a kill costs one shard, and nobody can tell afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.loading import save_model
from tasks.models.sample_shards import RolloutConfig, sample_in_shards, unique_prompts
from tasks.models.sampling import generation
from tasks.models.sampling.config import SamplingConfig
from tasks.models.tokens.encoding import vocabulary_of
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tests.tasks.training.conftest import RecordingLog

CONFIG = RolloutConfig(
    sampling=SamplingConfig(samples=2, max_new_tokens=6, shard_size=2),
    limits={"max_prompt_tokens": 40, "max_response_tokens": 6},
)


def query(text: str, **more: Any) -> Group:
    return Group((Message("user", text),), **more)


@pytest.fixture
def policy_folder(build: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(), tokenizer, tmp_path / "policy", "plain")
    return tmp_path / "policy"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Five different prompts; the second comes twice, with another response."""
    texts = ["what is 1?", "what is 2?", "what is 3?", "what is 4?", "what is 5?"]
    groups = [query(text, responses=("a",), scores=(1.0,)) for text in texts]
    groups.insert(3, query("what is 2?", responses=("b",)))
    write_groups(tmp_path / "queries", groups)
    return tmp_path / "queries"


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def shards_sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the shards sampled so far; appending -1 makes the next one fail."""
    numbers: list[int] = []
    real = generation.sample

    def spy(*args: Any, shard: int, **named: Any) -> Any:
        if numbers and numbers[-1] == -1:
            raise KeyboardInterrupt
        numbers.append(shard)
        return real(*args, shard=shard, **named)

    monkeypatch.setattr(generation, "sample", spy)
    return numbers


def test_every_query_once_in_order_with_what_is_noted_of_each_sample(
    policy_folder: Path, queries: Path, tmp_path: Path
) -> None:
    space = Workspace(tmp_path / "work")
    metrics = sample_in_shards(policy_folder, queries, CONFIG, space, NullLog(), 7)
    assert space.part_names() == ["shard-00000", "shard-00001", "shard-00002"]
    answered = list(read_groups(space.output))
    assert [group.prompt[0].content for group in answered] == [f"what is {n}?" for n in range(1, 6)]
    for group in answered:
        assert len(group.responses) == 2
        assert group.sources == ("policy", "policy")
        assert group.scores is None
        assert all(1 <= count <= 6 for count in group.extra["tokens"])
        for count, ended in zip(group.extra["tokens"], group.extra["ended"], strict=True):
            assert ended or count == 6
    tokenizer = load_tokenizer(policy_folder)
    for group in answered:
        assert group.extra["vocabulary"] == vocabulary_of(tokenizer, "plain")
        for text, count, ids in zip(
            group.responses, group.extra["tokens"], group.extra["ids"], strict=True
        ):
            assert len(ids) == count
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
    tokens = [count for group in answered for count in group.extra["tokens"]]
    ended = [flag for group in answered for flag in group.extra["ended"]]
    assert metrics.pop("speed/tokens_per_second") > 0
    assert metrics == {
        "queries": 5.0,
        "responses": 10.0,
        "mean_tokens": sum(tokens) / 10,
        "ended_share": sum(ended) / 10,
    }


def test_a_resumed_attempt_writes_the_same_bytes_and_samples_only_what_is_missing(
    policy_folder: Path, queries: Path, tmp_path: Path, shards_sampled: list[int]
) -> None:
    whole = Workspace(tmp_path / "whole")
    sample_in_shards(policy_folder, queries, CONFIG, whole, NullLog(), 7)
    assert shards_sampled == [0, 1, 2]

    shards_sampled.clear()
    killed = Workspace(tmp_path / "attempt-1")
    killed.guard = lambda: shards_sampled.append(-1) if shards_sampled == [0, 1] else None
    with pytest.raises(KeyboardInterrupt):
        sample_in_shards(policy_folder, queries, CONFIG, killed, NullLog(), 7)
    assert killed.part_names() == ["shard-00000", "shard-00001"]

    shards_sampled.clear()
    resumed = Workspace(tmp_path / "attempt-2")
    assert resumed.adopt_parts([killed.path]) == []
    sample_in_shards(policy_folder, queries, CONFIG, resumed, NullLog(), 7)
    assert shards_sampled == [2]
    assert tree(resumed.output) == tree(whole.output)


def test_answers_that_mostly_run_into_the_limit_are_told(
    policy_folder: Path, queries: Path, tmp_path: Path
) -> None:
    """A policy that was never trained ends hardly any answer; one token is no end."""
    log, space = RecordingLog(), Workspace(tmp_path / "work")
    draws = CONFIG.sampling.model_copy(update={"max_new_tokens": 1})
    short = CONFIG.model_copy(update={"sampling": draws})
    ended = sample_in_shards(policy_folder, queries, short, space, log, 7)["ended_share"]
    assert ended < 0.8
    told = f"{1 - ended:.0%} of 10 responses do not end within the 1 tokens of max_new_tokens"
    assert log.notes[-1] == told


def test_a_finished_attempt_needs_no_model(
    policy_folder: Path, queries: Path, tmp_path: Path
) -> None:
    first, second = Workspace(tmp_path / "attempt-1"), Workspace(tmp_path / "attempt-2")
    sample_in_shards(policy_folder, queries, CONFIG, first, NullLog(), 7)
    second.adopt_parts([first.path])
    metrics = sample_in_shards(tmp_path / "nowhere", queries, CONFIG, second, NullLog(), 7)
    assert tree(first.output) == tree(second.output)
    assert metrics["speed/tokens_per_second"] == 0


def test_the_seed_and_the_shard_change_the_draws(
    policy_folder: Path, queries: Path, tmp_path: Path
) -> None:
    def responses(seed: int) -> list[tuple[str, ...]]:
        space = Workspace(tmp_path / f"work-{seed}")
        sample_in_shards(policy_folder, queries, CONFIG, space, NullLog(), seed)
        return [group.responses for group in read_groups(space.output)]

    assert responses(1) != responses(2)


def test_only_so_many_queries(policy_folder: Path, queries: Path, tmp_path: Path) -> None:
    few = CONFIG.model_copy(update={"max_queries": 3})
    space = Workspace(tmp_path / "work")
    assert sample_in_shards(policy_folder, queries, few, space, NullLog(), 7)["queries"] == 3
    assert space.part_names() == ["shard-00000", "shard-00001"]


def test_no_query_is_no_error(policy_folder: Path, tmp_path: Path) -> None:
    write_groups(tmp_path / "none", [])
    space = Workspace(tmp_path / "work")
    log = RecordingLog()
    metrics = sample_in_shards(policy_folder, tmp_path / "none", CONFIG, space, log, 7)
    assert log.notes == []
    assert metrics["responses"] == metrics["mean_tokens"] == metrics["ended_share"] == 0
    assert list(read_groups(space.output)) == []


@pytest.mark.parametrize("most", [None, 2, 99])
def test_unique_prompts_bring_nothing_but_the_query(queries: Path, most: int | None) -> None:
    found = unique_prompts(GroupFolder(queries), most)
    asked = [group.prompt[0].content[8] for group in found]
    assert len(asked) == min(most or 5, 5) and asked == sorted(set(asked))
    assert all(not group.responses and group.scores is None for group in found)
