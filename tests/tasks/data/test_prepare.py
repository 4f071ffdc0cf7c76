"""Preparing a run's data: every part right, nothing leaks, everything counted, bytes repeatable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.data.config import DataConfig
from tasks.data.groups import first_turn_hash
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.prepare import PARTS, prepare
from tasks.data.splits import SplitConfig
from tasks.settings.errors import ConfigError, RecordError
from tasks.settings.log import NullLog
from tasks.storage.digests import digest_tree
from tests.tasks.data.prepared import first_words, pair, pairs, run, source

HALF = SplitConfig(rm_share=0.5, dev_share=0.5)


def test_parts_of_one_source(tmp_path: Path) -> None:
    """Test is cut off, dev stays in policy_train, queries are rm_train's, chosen are shown."""
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 200))
    metrics, parts = run(tmp_path / "out", preferences=preferences, split=HALF)
    words = {part: first_words(groups) for part, groups in parts.items()}
    assert words["rm_train"] | words["policy_train"] | words["test"] == {
        f"p {i}" for i in range(200)
    }
    assert sum(len(parts[part]) for part in ("rm_train", "policy_train", "test")) == 200
    assert words["dev"] < words["policy_train"]
    assert words["rm_queries"] == words["rm_train"]
    assert all(group.responses == () for group in parts["rm_queries"])
    assert words["demonstrations"] == (words["rm_train"] | words["policy_train"]) - words["dev"]
    assert all(g.responses == ("yes " + g.prompt[0].content[2:],) for g in parts["demonstrations"])
    assert parts["extra"] == []
    assert metrics == {part: float(len(groups)) for part, groups in parts.items()} | {
        "bad_records": 0.0,
        "read": 200.0,
    }


def test_dev_held_out_leaves_the_policy(tmp_path: Path) -> None:
    split = HALF.model_copy(update={"dev_from_policy": "held_out"})
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 100))
    _, parts = run(tmp_path / "out", preferences=preferences, split=split)
    assert not first_words(parts["dev"]) & first_words(parts["policy_train"])
    assert not first_words(parts["dev"]) & first_words(parts["demonstrations"])


def test_every_source_plays_its_part(tmp_path: Path) -> None:
    config = {
        "preferences": source(tmp_path / "p.jsonl", *pairs("p", 60)),
        "test": source(tmp_path / "t.jsonl", *pairs("t", 5), pair("t 0", "sure")),
        "demonstrations": source(tmp_path / "d.jsonl", {"prompt": "d", "completion": "shown"}),
        "rm_queries": source(tmp_path / "q.jsonl", {"instruction": "q", "golden": "best"}),
        "extra_preferences": source(tmp_path / "e.jsonl", *pairs("e", 3)),
    }
    metrics, parts = run(tmp_path / "out", **config, split=HALF)
    assert first_words(parts["test"]) == {f"t {i}" for i in range(5)}
    assert len(parts["test"]) == 6
    assert [group.responses for group in parts["demonstrations"]] == [("shown",)]
    assert [(g.responses, g.sources) for g in parts["rm_queries"]] == [(("best",), ("gold",))]
    assert first_words(parts["extra"]) == {"e 0", "e 1", "e 2"}
    assert metrics["rm_train"] + metrics["policy_train"] == 60


def overlapping(tmp_path: Path) -> dict:
    """`p 1` is also a test prompt, `p 2` a query, both first turns; `t 0` is a query too."""
    follow_up = "\n\nHuman: p 1\n\nAssistant: well\n\nHuman: and?\n\nAssistant:"
    return {
        "preferences": source(tmp_path / "p.jsonl", *pairs("p", 60), pair(follow_up)),
        "test": source(tmp_path / "t.jsonl", *pairs("t", 5), pair(" p  1"), pair("t 1", "sure")),
        "demonstrations": source(tmp_path / "d.jsonl", *pairs("d", 3), pair("t 3")),
        "rm_queries": source(tmp_path / "q.jsonl", *pairs("q", 4), pair("p 2"), pair("t 0")),
        "extra_preferences": source(tmp_path / "e.jsonl", *pairs("e", 3), pair("t 4")),
        "split": HALF,
    }


def test_overlap_drop_leaves_the_rows_out_and_counts_them(tmp_path: Path) -> None:
    metrics, parts = run(tmp_path / "out", **overlapping(tmp_path), overlap="drop")
    dropped = {name: count for name, count in metrics.items() if name.startswith("dropped/")}
    assert dropped == {
        "dropped/preferences/in_test": 2.0,
        "dropped/test/in_rm_queries": 1.0,
        "dropped/demonstrations/in_test": 1.0,
        "dropped/extra/in_test": 1.0,
    }
    human = first_words(parts["rm_train"]) | first_words(parts["policy_train"])
    assert human == {f"p {i}" for i in range(60)} - {"p 1"}
    assert "p 2" in first_words(parts["rm_train"])
    assert [group.prompt[0].content for group in parts["test"]].count("t 1") == 2
    assert first_words(parts["rm_queries"]) == {"q 0", "q 1", "q 2", "q 3", "p 2", "t 0"}


def test_overlap_stop_names_every_leak(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "out", **overlapping(tmp_path))
    message = str(caught.value)
    assert "rm_queries and test share 1 first turns" in message
    assert "(for example “t 0”, hash " in message
    assert "demonstrations and test share" in message
    assert "extra and test share" in message
    assert not (tmp_path / "out" / "table1.json").exists()


def test_a_dev_answer_is_never_a_demonstration(tmp_path: Path) -> None:
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 80))
    _, parts = run(
        tmp_path / "out",
        preferences=preferences,
        demonstrations=preferences,
        split=HALF,
        overlap="drop",
    )
    assert parts["dev"]
    assert not first_words(parts["demonstrations"]) & first_words(parts["dev"])


def test_cleaning_and_bad_records_are_counted_and_written(tmp_path: Path) -> None:
    rows = [*pairs("p", 100), pair("same", "x", "x "), pair("p 0", chosen="yes 0"), '{"prompt":']
    config = {"preferences": source(tmp_path / "p.jsonl", *rows), "split": HALF}
    notes: list[str] = []
    log = NullLog()
    log.note = notes.append  # type: ignore[method-assign]
    metrics = prepare(DataConfig(**config), tmp_path / "out", log)
    assert metrics["dropped/preferences/identical"] == 1
    assert metrics["dropped/preferences/duplicate"] == 1
    assert metrics["bad_records"] == 1
    kept = sum(metrics[part] for part in ("rm_train", "policy_train", "test"))
    assert metrics["read"] == len(rows) == kept + 3, "what nobody can read is of the records too"
    reason = "not JSON: Expecting value at character 10"
    assert notes == [f"left out {tmp_path}/p.jsonl:103: {reason}"]
    lines = (tmp_path / "out" / "bad_records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"source": "p.jsonl", "line": 103, "reason": reason}
    ]
    table = json.loads((tmp_path / "out" / "table1.json").read_text())
    assert table["dropped"]["preferences"] == {"identical": 1, "duplicate": 1}
    assert table["read"] == len(rows)
    assert table["parts"]["dev"]["groups"] == metrics["dev"]
    assert table["parts"]["dev"]["responses"] == 2 * metrics["dev"]
    assert table["split"]["rm_share"] == 0.5


def test_too_many_bad_records_stop_and_leave_nothing_finished(tmp_path: Path) -> None:
    config = {"preferences": source(tmp_path / "p.jsonl", *pairs("p", 20), "x", "y")}
    with pytest.raises(RecordError, match="2 of 22 records cannot be read"):
        run(tmp_path / "out", **config)
    assert list((tmp_path / "out").rglob("*.json*")) == []


def test_the_same_data_gives_the_same_bytes_and_sources_stay_as_they_are(tmp_path: Path) -> None:
    trees = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        preferences = source(folder / "p.jsonl", *pairs("p", 150))
        before = (folder / "p.jsonl").read_bytes()
        run(folder / "out", preferences=preferences, split=HALF)
        assert (folder / "p.jsonl").read_bytes() == before
        trees.append([(file.path, file.sha256) for file in digest_tree(folder / "out")])
    assert trees[0] == trees[1]


def test_the_order_of_the_file_does_not_move_a_record(tmp_path: Path) -> None:
    rows = pairs("p", 80)
    found = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        preferences = source(tmp_path / f"{name}.jsonl", *order)
        _, parts = run(tmp_path / name, preferences=preferences, split=HALF)
        found.append({part: first_words(groups) for part, groups in parts.items()})
    assert found[0] == found[1]


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["", "more", "else"]), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25)
@given(rows=ROWS, tests=ROWS, queries=ROWS, seed=st.integers(0, 3))
def test_whatever_overlaps_drop_leaves_disjoint_parts(
    tmp_path_factory: pytest.TempPathFactory, rows: list, tests: list, queries: list, seed: int
) -> None:
    """Checked by sets of first turns made here, independently of `check_disjoint`."""
    folder = tmp_path_factory.mktemp("drop")

    def dialogues(found: list) -> list[dict]:
        return [
            pair(f"\n\nHuman: t{turn}\n\nAssistant: a\n\nHuman: {more}\n\nAssistant:", f"yes {k}")
            for turn, more, k in found
        ]

    filler = pairs("filler", 60)
    config = {
        "preferences": source(folder / "p.jsonl", *filler, *dialogues(rows)),
        "test": source(folder / "t.jsonl", *dialogues(tests), pair("own test")),
        "rm_queries": source(folder / "q.jsonl", *dialogues(queries)),
        "split": HALF.model_copy(update={"seed": seed}),
    }
    _, parts = run(folder / "out", **config, overlap="drop")
    turns = {part: {first_turn_hash(g.prompt) for g in groups} for part, groups in parts.items()}
    for one, other in (
        ("rm_train", "dev"),
        ("rm_train", "test"),
        ("dev", "test"),
        ("policy_train", "test"),
        ("rm_train", "policy_train"),
        ("rm_queries", "policy_train"),
        ("rm_queries", "test"),
        ("demonstrations", "test"),
    ):
        assert not turns[one] & turns[other]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "name at least one source in `preferences`"),
        ({"preferences": [{"path": "a"}], "overlap": "ignore"}, "'stop' or 'drop'"),
        ({"preferences": [{"path": "a"}], "split": {"rm_share": 1.5}}, "less than 1"),
    ],
)
def test_impossible_configs(config: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataConfig(**config)


def test_an_empty_part_and_a_missing_file_are_configuration_errors(tmp_path: Path) -> None:
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 2))
    with pytest.raises(ConfigError, match="nothing is left for .* after reading"):
        run(tmp_path / "out", preferences=preferences)
    with pytest.raises(ConfigError, match="there is no data file at"):
        run(tmp_path / "other", preferences=[{"path": str(tmp_path / "none")}])
    assert not (tmp_path / "other").exists()


def test_an_empty_file_is_named_but_an_empty_part_of_a_stage_is_none(tmp_path: Path) -> None:
    preferences = source(tmp_path / "p.jsonl", *pairs("p", 200))
    (tmp_path / "test.jsonl").touch()
    test = [{"path": str(tmp_path / "test.jsonl")}]
    with pytest.raises(ConfigError, match=r"test\.jsonl is empty, it holds no record"):
        run(tmp_path / "out", preferences=preferences, test=test)
    run(tmp_path / "first", preferences=preferences)
    extra = [{"path": str(tmp_path / "first" / "extra")}]
    run(tmp_path / "second", preferences=preferences, extra_preferences=extra)


def test_the_playground_is_generated_and_used(tmp_path: Path) -> None:
    playground = PlaygroundConfig(
        folder=tmp_path / "play", preferences=120, test=20, demonstrations=40, extra=20
    )
    config = DataConfig(playground=playground)
    metrics = prepare(config, tmp_path / "out", NullLog())
    assert len(config.local_files()) == 4
    assert metrics["test"] == 20
    assert all(metrics[part] > 0 for part in PARTS if part != "policy_prompts")
