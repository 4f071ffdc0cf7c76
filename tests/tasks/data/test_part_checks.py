"""Which parts there are follows from the sources and shares, and none of them leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.config import DataConfig
from tests.tasks.data.prepared import first_words, pair, pairs, run, source


def test_pairs_of_the_named_queries_teach_the_reward_model(tmp_path: Path) -> None:
    """APO's D_P and D_APO are of the same prompts; with a share of 0 of no others."""
    asked = [{"prompt": f"p {i}"} for i in range(0, 200, 4)]
    config = {
        "preferences": source(tmp_path / "p.jsonl", *pairs("p", 200)),
        "rm_queries": source(tmp_path / "q.jsonl", *asked),
    }
    queries = {row["prompt"] for row in asked}
    for share, name in ((0.3, "some"), (0.0, "none")):
        _, parts = run(tmp_path / name, **config, split={"rm_share": share, "dev_share": 0.5})
        assert first_words(parts["rm_queries"]) == queries <= first_words(parts["rm_train"])
        assert not queries & (first_words(parts["policy_train"]) | first_words(parts["test"]))
        assert (first_words(parts["rm_train"]) == queries) is (share == 0)


def test_without_a_part_of_the_reward_models_own_all_pairs_are_the_policys(tmp_path: Path) -> None:
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 200))
    split = {"rm_share": 0, "dev_share": 0.2, "dev_from_policy": "held_out"}
    metrics, parts = run(tmp_path / "out", preferences=preferences, split=split)
    assert not parts["rm_train"] and not parts["rm_queries"]
    assert metrics["policy_train"] + metrics["dev"] + metrics["test"] == 200


@pytest.mark.parametrize("overlap", ["drop", "stop"])
def test_prompts_of_another_source_are_the_policys_and_leak_nowhere(
    tmp_path: Path, overlap: str
) -> None:
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 200))
    split = {"rm_share": 0, "dev_share": 0.2, "dev_from_policy": "held_out"}
    rows = [{"prompt": f"own {i}"} for i in range(9)] + [pair("p 7"), pair("own 3")]
    own = [*rows, *({"prompt": f"p {i}"} for i in range(200) if overlap == "drop")]
    prompts = source(tmp_path / "own.jsonl", *own)
    config = {"preferences": preferences, "policy_prompts": prompts, "split": split}
    assert DataConfig(**config).policy_part == "policy_prompts"
    metrics, parts = run(tmp_path / "out", **config, overlap=overlap)
    found = first_words(parts["policy_prompts"])
    assert {f"own {i}" for i in range(9)} < found and metrics["policy_prompts"] == len(found)
    assert all(not group.responses for group in parts["policy_prompts"])
    assert not found & (first_words(parts["test"]) | first_words(parts["dev"]))
    if overlap == "drop":
        assert metrics["dropped/policy_prompts/in_dev"] == metrics["dev"]
