"""Which parts there are follows from the sources and shares, and none of them leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

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


def test_demonstrations_alone_are_divided_into_dev_test_and_the_rest(tmp_path: Path) -> None:
    """They are the policy's prompts too, and no pair is missed."""
    rows = [{"prompt": f"d {i}", "response": f"yes {i}"} for i in range(200)]
    shown = source(tmp_path / "d.jsonl", *rows)
    split = {"dev_share": 0.2, "test_share": 0.2}
    assert DataConfig(demonstrations=shown).policy_part == "demonstrations"
    _, parts = run(tmp_path / "out", demonstrations=shown, split=split)
    sizes = {name: len(parts[name]) for name in ("demonstrations", "dev", "test")}
    assert sum(sizes.values()) == 200 and min(sizes.values()) > 15
    assert not any(parts[name] for name in ("rm_train", "policy_train", "rm_queries", "extra"))
    turns = [first_words(parts[name]) for name in sizes]
    assert len(set.union(*turns)) == 200
    # A test set of its own needs an answer, no pair, and leaves the demonstrations whole.
    test = source(tmp_path / "t.jsonl", *({"prompt": f"t {i}", "response": "no"} for i in range(9)))
    _, parts = run(tmp_path / "own", demonstrations=shown, test=test, split=split)
    assert len(parts["test"]) == 9
    assert len(parts["demonstrations"]) + len(parts["dev"]) == 200


def test_nothing_to_learn_from_and_pairs_that_are_missing_are_refused() -> None:
    with pytest.raises(ValidationError, match="demonstrations alone wants a source"):
        DataConfig(test=[{"path": "a.jsonl"}])
    alone = DataConfig(demonstrations=[{"path": "a.jsonl"}])
    with pytest.raises(ValueError, match=r"apo learns from pairs .* name at least one source"):
        alone.require_preferences("apo")
    DataConfig(preferences=[{"path": "a.jsonl"}]).require_preferences("apo")
