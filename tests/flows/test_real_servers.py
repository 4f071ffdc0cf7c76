"""The flow `apo` with nothing made up: a real model, served, gives gold, is sampled, and judges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.registry import CONFIGS
from tasks.endpoints.ledger import Ledger
from tasks.models.sampling.config import ServerConfig
from tasks.models.server.process import ModelServer, model_server
from tasks.settings.loading import load_config
from tasks.settings.log import NullLog
from tasks.stages.manifest import list_manifests
from tests.flows.command import Shell

pytestmark = [pytest.mark.slow, pytest.mark.real]
VLLM = Path(__file__).parents[2] / ".venv-vllm/bin/vllm"
HERE = "--host 127.0.0.1 --port {port}"
SERVERS = {
    "transformers": ServerConfig(command=f"transformers serve {{model}} {HERE} --device cpu"),
    "vllm": ServerConfig(
        command=f"{VLLM} serve {{model}} {HERE} --max-model-len 1024 --max-num-seqs 8 "
        "--enforce-eager",
        environment={"VLLM_CPU_KVCACHE_SPACE": "1"},
    ),
}
JUDGED = 3
"""Prompts that the judge is asked about."""


def configuration(server: ModelServer, *, constrained: bool) -> dict[str, Any]:
    """`make demo-real` on very little, with what a server can do done by this one."""
    endpoint = {
        "url": f"{server.url}/v1",
        "model": server.model_name,
        "price": {"prompt": 0, "completion": 0},
        "concurrency": 2,
    }
    config = load_config(CONFIGS / "apo-smollm2.yaml")
    config["data"]["preferences"][0]["limit"] = 40
    config["gold"] = {
        "provider": "server",
        "server": {
            "endpoint": endpoint,
            "system": "Answer in one short sentence.",
            "max_tokens": 40,
            "temperature": 0.0,
        },
        "dev_share": 0.3,
        "max_unanswered_share": 0.95,
    }
    # The policies are served one after the other by the program that serves gold and judge.
    drawn = server.config.model_dump(exclude={"model_name"}) | {"concurrency": 2}
    config["sampling"] = {
        "samples": 2,
        "max_new_tokens": 12,
        "engine": "server",
        "server": drawn | {"command": list(server.config.command)},
    }
    config["policy"]["max_queries"] = 4
    config["evaluation"] |= {"max_queries": JUDGED + 1, "kl_queries": 2, "kl_samples": 1}
    config["evaluation"]["sampling"] = {"samples": 1, "max_new_tokens": 12}
    config["judge"] = {
        "endpoint": endpoint,
        "prompts": JUDGED,
        "max_tokens": 64 if constrained else 12,
        "constrained": constrained,
    }
    return config


@pytest.mark.parametrize("name", SERVERS)
def test_gold_samples_and_verdicts_come_from_a_real_model(
    name: str, real_model: Path, real_data: Path, fresh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "vllm" and not VLLM.exists():
        pytest.skip("needs .venv-vllm/bin/vllm: `make vllm` makes it")
    monkeypatch.setenv("PAIRS", str(real_data / "hh" / "pairs.train.jsonl.gz"))
    (fresh.folder / "models").mkdir()
    (fresh.folder / "models" / real_model.name).symlink_to(real_model)
    with model_server(SERVERS[name], real_model, folder=fresh.folder, log=NullLog()) as server:
        constrained = name == "vllm"
        path = fresh.folder / "real.yaml"
        path.write_text(yaml.safe_dump(configuration(server, constrained=constrained)))
        done = fresh("run", "apo", "-c", str(path))
    made = {
        stage: list_manifests(fresh.home, stage)
        for stage in ("collect_gold", "sample_responses", "judge_responses", "write_apo_report")
    }
    (gold,) = made["collect_gold"]
    assert gold.metrics["answered"] >= 2 and gold.metrics["completion_tokens"] > 10
    assert "queries: the model server is ready" in done.stdout + done.stderr, "policies are served"
    matches = {one.label: one.metrics for one in made["judge_responses"]}
    assert {"chosen vs rejected", "APO-DPO-v1 vs start"} <= matches.keys()
    assert all(one["asked"] == JUDGED for one in matches.values())
    entries = list(Ledger(fresh.home.ledger).entries())
    assert {one.account.stage for one in entries} == {"collect_gold", "judge_responses"}
    (report,) = made["write_apo_report"]
    table = json.loads((report.folder(fresh.home) / "report.json").read_text())["tables"]["judge"]
    verdicts = {row[0]: row[2] for row in table["rows"]}
    print(gold.metrics, matches, verdicts)
    if constrained:
        assert "no verdict" not in verdicts.values()
