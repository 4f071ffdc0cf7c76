"""A tiny tokenizer and tiny models of each architecture family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.data.groups import Group, Message
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.sampling.config import ServerConfig
from tasks.models.server.process import ModelServer
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tasks.settings.log import NullLog
from tests.servers.openai_server import FakeServer

KINDS = ("llama", "gpt2", "qwen2")
SHAPE = {"hidden_size": 16, "layers": 2, "heads": 2, "context": 128}


@pytest.fixture(scope="session")
def texts() -> list[str]:
    pairs = [(i, j) for i in range(9) for j in range(9)]
    return [f"Human: what is {i} plus {j}? Assistant: it is {i + j}, sir" for i, j in pairs]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(iter(texts), 320, folder)
    return folder


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> Any:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture
def build(tokenizer: Any) -> Callable[..., Any]:
    """Builds a tiny policy: `build(kind, seed=0, **shape)`."""

    def make(kind: str = "llama", seed: int = 0, **shape: Any) -> Any:
        return build_policy(ArchitectureConfig(kind=kind, **{**SHAPE, **shape}), tokenizer, seed)

    return make


@pytest.fixture(params=KINDS)
def policy(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    return build(request.param, seed=1)


@pytest.fixture
def groups() -> list[Group]:
    """Groups of 2, 1 and 3 responses and of mixed lengths, an empty response among them."""

    def group(prompt: str, *responses: str) -> Group:
        return Group((Message("user", prompt),), responses)

    return [
        group("what is 3 plus 4?", "it is 7", "no"),
        group("4?", "it is a much longer answer, héé 🎉"),
        group("a long question about what 1 plus 1 plus 1 plus 1 is", "", "4", "four"),
    ]


class RunningChild:
    """Stands for a program that runs until `code` is set."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.code: int | None = None

    def exit_code(self) -> int | None:
        return self.code

    def tail(self) -> str:
        return "last words"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server in this process, to be asked without long pauses after an error."""
    monkeypatch.setattr("tasks.models.server.client._FIRST_PAUSE", 0.01)
    with FakeServer() as server:
        yield server


@pytest.fixture
def served(
    fake: FakeServer, tmp_path: Path, build: Callable[..., Any], tokenizer: Any
) -> Callable[..., ModelServer]:
    """What a stage has of a server that it started: `served(log=NullLog(), **config)`."""
    build().config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    def make(log: Any = None, **values: Any) -> ModelServer:
        values = {"retries": 6, "request_seconds": 20.0, "concurrency": 4, **values}
        config = ServerConfig(command="fake {port}", **values)
        child: Any = RunningChild(tmp_path / "log")
        return ModelServer(fake.url, tmp_path, "fake", config, log or NullLog(), child)

    return make


@pytest.fixture
def server(served: Callable[..., ModelServer]) -> ModelServer:
    """The same as it is by default."""
    return served()
