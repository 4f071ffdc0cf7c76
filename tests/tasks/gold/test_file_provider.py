"""Gold from a file: matched by prompt hash, unmatched left out, the first answer counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.groups import Group, Message
from tasks.data.sources.reader import SourceConfig
from tasks.gold.file_provider import FileProvider
from tasks.settings.errors import ConfigError
from tasks.storage.workspace import Workspace


def query(text: str) -> Group:
    return Group((Message("user", text),))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_answers_are_matched_whatever_the_white_space(tmp_path: Path) -> None:
    file = write(
        tmp_path / "gold.jsonl",
        [
            {"instruction": "What  is\nrain?", "golden_gpt4": "Water."},
            {"instruction": "What is rain?", "golden_gpt4": "A second answer."},
            {"instruction": "Never asked", "golden_gpt4": "x"},
        ],
    )
    queries = [query("Unknown"), query("What is rain?")]
    provider = FileProvider(SourceConfig(path=str(file)))
    found = dict(provider.answer(queries, Workspace(tmp_path / "w")))
    assert {key: answer.text for key, answer in found.items()} == {queries[1].id: "Water."}
    assert found[queries[1].id].source == "gold"


def test_column_of_the_golden_response_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "gold.jsonl", [{"instruction": "Hi", "best": "Hello."}])
    source = SourceConfig(path=str(file), format="golden", fields={"golden": "best"})
    found = list(FileProvider(source).answer([query("Hi")], Workspace(tmp_path / "w")))
    assert found[0][1].text == "Hello."


def test_missing_file_and_empty_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl"):
        FileProvider(SourceConfig(path=str(tmp_path / "nowhere.jsonl")))
    empty = write(tmp_path / "gold.jsonl", [])
    with pytest.raises(ConfigError, match="no golden response"):
        list(
            FileProvider(SourceConfig(path=str(empty))).answer(
                [query("Hi")], Workspace(tmp_path / "w")
            )
        )
