"""Group folders: what is written is read, in order and at random; damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.files import GroupFolder, GroupWriter, read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.settings.errors import ConfigError, RecordError


def group(text: str) -> Group:
    return Group((Message("user", text),), (f"yes {text}", "no"), (1.0, 0.0))


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=25)


@settings(max_examples=40)
@given(texts=TEXTS, shard_size=st.integers(1, 8))
def test_random_access_equals_streaming(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], shard_size: int
) -> None:
    folder = tmp_path_factory.mktemp("groups") / "set"
    groups = [group(text) for text in texts]
    assert write_groups(folder, iter(groups), shard_size) == len(groups)
    assert list(read_groups(folder)) == groups
    opened = GroupFolder(folder)
    assert len(opened) == len(groups)
    assert [opened[i] for i in range(len(groups))] == groups
    assert [opened[-i - 1] for i in range(len(groups))] == groups[::-1]
    assert list(opened) == groups
    shards = [path.name for path in sorted(folder.glob("*.jsonl"))]
    assert len(shards) == -(-len(groups) // shard_size)


def test_the_folder_has_the_documented_form(tmp_path: Path) -> None:
    write_groups(tmp_path / "set", map(group, "abc"), shard_size=2)
    index = json.loads((tmp_path / "set" / "index.json").read_text())
    assert index == {
        "count": 3,
        "shards": [{"file": "00000.jsonl", "count": 2}, {"file": "00001.jsonl", "count": 1}],
    }
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "00000.jsonl",
        "00001.jsonl",
        "index.json",
    ]


def test_equal_groups_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_groups(tmp_path / name, map(group, "abc"))
    files = [(tmp_path / name / "00000.jsonl").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_a_single_file_can_be_opened_too(tmp_path: Path) -> None:
    write_groups(tmp_path / "set", map(group, "abc"))
    opened = GroupFolder(tmp_path / "set" / "00000.jsonl")
    assert [opened[1]] == [group("b")]


def test_index_out_of_range(tmp_path: Path) -> None:
    write_groups(tmp_path / "set", map(group, "abc"))
    opened = GroupFolder(tmp_path / "set")
    for index in (3, -4):
        with pytest.raises(IndexError, match="which has 3"):
            opened[index]


def test_an_error_while_writing_leaves_no_finished_set(tmp_path: Path) -> None:
    with pytest.raises(KeyError), GroupWriter(tmp_path / "set") as writer:
        writer.write(group("a"))
        raise KeyError
    assert list((tmp_path / "set").iterdir()) == []
    with pytest.raises(ConfigError, match=r"no index\.json"):
        GroupFolder(tmp_path / "set")


def test_a_finished_set_is_never_written_into(tmp_path: Path) -> None:
    write_groups(tmp_path / "set", [])
    with pytest.raises(ConfigError, match="already holds"):
        write_groups(tmp_path / "set", [])


def test_missing_folder_and_bad_shard_size(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data set at"):
        list(read_groups(tmp_path / "none"))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        write_groups(tmp_path / "set", [], shard_size=0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text + text, "holds 6 groups, its index says 3"),
        (lambda text: text.splitlines()[0] + "\n", "holds 1 groups, its index says 3"),
        (lambda text: text.replace('"b"', '"b', 1), "00000.jsonl:2:"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, words: str) -> None:
    write_groups(tmp_path / "set", map(group, "abc"))
    shard = tmp_path / "set" / "00000.jsonl"
    shard.write_text(damage(shard.read_text()))
    with pytest.raises(RecordError, match=words):
        list(read_groups(tmp_path / "set"))
    with pytest.raises(RecordError, match=words):
        list(map(GroupFolder(tmp_path / "set").__getitem__, range(3)))


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    write_groups(tmp_path / "set", map(group, "abc"))
    (tmp_path / "set" / "00000.jsonl").unlink()
    with pytest.raises(RecordError, match=r"00000\.jsonl is missing"):
        GroupFolder(tmp_path / "set")
