"""The real data sets, prepared as a run would: nothing lost, no leak, a planted leak is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.config import DataConfig
from tasks.data.prepare import PARTS, prepare
from tasks.data.splits import check_disjoint
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog


def real_config(real_data: Path, **more: object) -> dict:
    def at(name: str) -> list[dict]:
        return [{"path": str(real_data / name)}]

    return {
        "preferences": at("hh/pairs.train.jsonl.gz"),
        "test": at("hh/pairs.dev.jsonl.gz"),
        "demonstrations": at("demonstrations/alpaca.jsonl.gz"),
        "rm_queries": [
            at("golden/gpt4_alpaca_eval.jsonl.gz")[0] | {"fields": {"golden": "golden_gpt4"}}
        ],
        "extra_preferences": at("webgpt/pairs.jsonl.gz"),
        **more,
    }


def test_real_data_passes_the_leak_check_with_drop(real_data: Path, tmp_path: Path) -> None:
    metrics = prepare(DataConfig(**real_config(real_data, overlap="drop")), tmp_path, NullLog())
    assert metrics["rm_queries"] == 793
    assert metrics["bad_records"] == 0
    assert metrics["extra"] == 656
    assert "dropped/preferences/in_rm_queries" not in metrics, "gold's prompts keep their pairs"
    assert metrics["test"] + metrics["dropped/test/in_rm_queries"] == 509
    lost = sum(value for name, value in metrics.items() if name.startswith("dropped/preferences"))
    assert metrics["rm_train"] + metrics["policy_train"] + lost == 3647


def test_real_data_without_drop_stops(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rm_queries and test share"):
        prepare(DataConfig(**real_config(real_data)), tmp_path, NullLog())


def test_a_leak_planted_in_real_data_is_found(real_data: Path, tmp_path: Path) -> None:
    """One row of policy_train copied behind the test set: the check must fail, and name the two."""
    prepare(DataConfig(**real_config(real_data, overlap="drop")), tmp_path, NullLog())
    parts = {part: tmp_path / part for part in PARTS}
    check_disjoint(parts)
    leaked = (parts["policy_train"] / "00000.jsonl").read_text().splitlines()[7]
    index = json.loads((parts["test"] / "index.json").read_text())
    index["shards"][0]["count"] += 1
    (parts["test"] / "index.json").write_text(json.dumps(index))
    with open(parts["test"] / "00000.jsonl", "a") as shard:
        shard.write(leaked + "\n")
    with pytest.raises(ConfigError) as caught:
        check_disjoint(parts)
    leaks = "policy_train and test share 1 first turns and 1 whole prompts" in str(caught.value)
    assert leaks
