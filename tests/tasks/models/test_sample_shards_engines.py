"""What answers the shards: the own engine, its precision and its watch, or a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.loading import save_model
from tasks.models.sample_shards import RolloutConfig, sample_in_shards
from tasks.models.sampling import generation
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import Completion
from tasks.settings.errors import StageError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tests.tasks.models.families import build as build_family

CONFIG = RolloutConfig(
    sampling=SamplingConfig(samples=2, max_new_tokens=6, shard_size=2),
    limits={"max_prompt_tokens": 40, "max_response_tokens": 6},
)


@pytest.fixture
def policy_folder(build: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(), tokenizer, tmp_path / "policy", "plain")
    return tmp_path / "policy"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Five prompts: shards of two, two and one."""
    groups = [Group((Message("user", f"what is {n}?"),)) for n in range(5)]
    write_groups(tmp_path / "queries", groups)
    return tmp_path / "queries"


class Notes(NullLog):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_a_stall_fails_the_stage_and_names_the_shard(
    policy_folder: Path, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*args: Any, shard: int, progress: Callable[[int], None], **named: Any) -> Any:
        progress(2)
        while shard == 1:
            time.sleep(0.01)
        return [[Completion("a", 1, True)] * 2] * 2

    monkeypatch.setattr(generation, "sample", hang)
    config = CONFIG.model_copy(
        update={"sampling": CONFIG.sampling.model_copy(update={"stall_seconds": 0.3})}
    )
    log, space = Notes(), Workspace(tmp_path / "work")
    with pytest.raises(StageError, match=r"sampling of shard 1 gave no token .* after step 1"):
        sample_in_shards(policy_folder, queries, config, space, log, 7)
    assert space.part_names() == ["shard-00000"]
    assert "in hang" in log.texts[-1]


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), ("fp32", "float32")])
def test_the_model_is_held_in_the_precision_asked_for(
    policy_folder: Path,
    queries: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    dtype: str,
) -> None:
    seen = []
    real = generation.sample

    def spy(model: Any, *args: Any, **named: Any) -> Any:
        seen.append(str(model.dtype).removeprefix("torch."))
        return real(model, *args, **named)

    monkeypatch.setattr(generation, "sample", spy)
    config = CONFIG.model_copy(
        update={"sampling": CONFIG.sampling.model_copy(update={"precision": precision})}
    )
    sample_in_shards(policy_folder, queries, config, Workspace(tmp_path / "w"), NullLog(), 7)
    assert set(seen) == {dtype}


def test_a_model_that_shares_no_prompts_is_said_aloud(
    tokenizer: Any, queries: Path, tmp_path: Path
) -> None:
    model = build_family("mistral", vocab_size=len(tokenizer))
    save_model(model, tokenizer, tmp_path / "policy", "plain")
    log = Notes()
    sample_in_shards(tmp_path / "policy", queries, CONFIG, Workspace(tmp_path / "w"), log, 7)
    assert any("MistralForCausalLM does not share prompts" in text for text in log.texts)


def test_the_server_engine_gets_every_shard(
    policy_folder: Path, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is started once, for what is missing, and stopped; its answers are kept."""
    events: list[Any] = []

    @contextmanager
    def serve(config: Any, model: Path, *, folder: Path, log: Any) -> Iterator[str]:
        events.append(("start", config.command, model))
        yield "server"
        events.append("stop")

    def ask(server: str, tokenizer: Any, template: Any, prompts: Any, *rest: Any, **named: Any):
        events.append((server, named["shard"], len(prompts)))
        named["progress"](1)
        return [[Completion("a", 1, True), Completion("b", 2, False)] for _ in prompts]

    monkeypatch.setattr("tasks.models.server.process.model_server", serve)
    monkeypatch.setattr("tasks.models.server.sampling.sample_from_server", ask)
    server = {"command": ("serve", "{port}")}
    sampling = SamplingConfig(
        samples=2, max_new_tokens=6, shard_size=2, engine="server", server=server
    )
    space = Workspace(tmp_path / "work")
    config = CONFIG.model_copy(update={"sampling": sampling})
    sample_in_shards(policy_folder, queries, config, space, NullLog(), 7)
    assert events[0] == ("start", ("serve", "{port}"), policy_folder)
    assert events[1:] == [("server", 0, 2), ("server", 1, 2), ("server", 2, 1), "stop"]
    assert [group.extra["ids"] for group in read_groups(space.output)] == [[None, None]] * 5
