"""Gold from a real model behind a real server: the 135M model through `transformers serve`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.groups import Group, Message
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.gold.collection import GoldConfig, collect
from tasks.gold.server_provider import ServerGoldConfig
from tasks.models.sampling.config import ServerConfig
from tasks.models.server.process import model_server
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.real]
COMMAND = "transformers serve {model} --host 127.0.0.1 --port {port} --device cpu"
QUESTIONS = ("What is the capital of France?", "Name a colour.", "Say hello.", "What is 2 plus 2?")


def test_a_real_model_gives_gold_once(
    real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    queries = [Group((Message("user", question),)) for question in QUESTIONS]
    command = ServerConfig(command=COMMAND)
    with model_server(command, real_model, folder=tmp_path, log=NullLog()) as server:
        endpoint = {
            "url": f"{server.url}/v1",
            "model": server.model_name,
            "price": {"prompt": 0, "completion": 0},
            "concurrency": 2,
        }
        asked = {"endpoint": endpoint, "max_tokens": 200, "temperature": 0.0}
        config = GoldConfig(
            provider="server", server=ServerGoldConfig(**asked), max_unanswered_share=0.25
        )
        work, me = tmp_path / "work", Account("run", "collect_gold", "work")
        gold, counts = collect(config, queries, None, Workspace(work / "a"), NullLog(), me)
        assert "Paris" in gold[0].responses[0]
        assert counts["answered"] >= 3 and counts["completion_tokens"] > 10
        known = Ledger(current_home().ledger).spent("work")
        assert known.tokens >= counts["prompt_tokens"] + counts["completion_tokens"]
        answered = [group for group in queries if group.id in {one.id for one in gold}]
        again, counts = collect(config, answered, None, Workspace(work / "b"), NullLog(), me)
        assert again == gold and counts["requests"] == 0
        unknown = ServerGoldConfig(**{**asked, "endpoint": {**endpoint, "model": "no/such-model"}})
        config = config.model_copy(update={"server": unknown})
        with pytest.raises(ConfigError):
            collect(config, queries, None, Workspace(work / "c"), NullLog(), me)
