"""Where a source's rows lie: folders, what a stage wrote, sets of the hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import local_files
from tasks.data.sources.reader import read_source
from tasks.settings.errors import ConfigError
from tests.tasks.data.sources.written import pair, read, write


def test_a_folder_is_read_by_subset_and_split(tmp_path: Path) -> None:
    for subset in ("harmless-base", "helpful-base"):
        for split in ("train", "test"):
            write(tmp_path / subset / f"{split}.jsonl.gz", pair(f"{subset} {split}"))
    both = {"path": str(tmp_path), "subsets": ("helpful-base", "harmless-base")}
    assert read(**both)[0] == ["helpful-base train", "harmless-base train"]
    assert read(**both, split="test")[0] == ["helpful-base test", "harmless-base test"]
    with pytest.raises(ConfigError, match="holds harmless-base, helpful-base. Choose `subsets`"):
        local_files(SourceConfig(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="no data file of split 'dev'"):
        local_files(SourceConfig(**both, split="dev"))


def test_a_group_folder_is_a_source(tmp_path: Path) -> None:
    groups = [Group((Message("user", text),), ("a", "b"), (1.0, 0.0)) for text in "xyz"]
    write_groups(tmp_path / "set", groups, shard_size=2)
    assert list(read_source(SourceConfig(path=str(tmp_path / "set")), print)) == groups


def test_hub_sets_are_read_through_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` reads a local folder as it reads a hub name: data_dir and split are real here."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    home = tmp_path / "owner" / "hh-rlhf"
    for subset in ("harmless-base", "helpful-base"):
        rows = [{key: f"\n\nHuman: {subset}\n\nAssistant: {key}"} for key in ("chosen", "rejected")]
        write(home / subset / "train.jsonl.gz", rows[0] | rows[1])
    config = {"hub": str(home), "subsets": ("helpful-base", "harmless-base")}
    assert read(**config)[0] == ["helpful-base", "harmless-base"]
    with pytest.raises(ConfigError, match=r"cannot read hub:.*split 'nowhere'.*check the name"):
        read(**config, split="nowhere")


def test_a_set_that_is_a_script_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """By name before anything is asked, and by what `datasets` finds in it."""
    with pytest.raises(ValueError, match="is a loading script.*`revision: refs/convert/parquet`"):
        SourceConfig(hub="openai/webgpt_comparisons")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "pairs.py").write_text("print(1)")
    with pytest.raises(ConfigError, match=r"pairs' is a loading script.*a local `path`"):
        read(hub=str(tmp_path / "pairs"))


def test_the_hubs_own_copy_of_a_script_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its branch has one folder per configuration, and in it one per split."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    assert SourceConfig(hub="openai/webgpt_comparisons", revision="refs/convert/parquet").hub
    row = {
        "question": {"dataset": "eli5", "id": "q", "full_text": "2 + 2?"},
        "quotes_0": {"title": ["t"], "extract": ["e"]},
        "answer_0": "5",
        "tokens_0": {"prefix": [1], "completion": [2]},
        "score_0": -1.0,
        "quotes_1": {"title": ["t"], "extract": ["e"]},
        "answer_1": "4",
        "tokens_1": {"prefix": [1], "completion": [2]},
        "score_1": 1.0,
    }
    folder = tmp_path / "webgpt" / "default" / "train"
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "0000.parquet")
    (group,) = read_source(SourceConfig(hub=str(tmp_path / "webgpt")), print)
    assert (group.prompt, group.responses) == ((Message("user", "2 + 2?"),), ("4", "5"))


def test_a_hub_name_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot read hub:nobody/nothing.*give a local `path`"):
        read(hub="nobody/nothing")
