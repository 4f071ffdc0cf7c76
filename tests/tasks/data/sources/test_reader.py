"""Sources: files, folders, hub names, columns, limits, and the fate of unreadable records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.formats import FORMATS
from tasks.data.sources.reader import BadRecord, detect_format, local_files, read_source
from tasks.data.sources.tally import Tally
from tasks.settings.errors import ConfigError, RecordError


def write(path: Path, *rows: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def pair(text: str, **more: object) -> dict:
    return {"prompt": text, "chosen": "yes", "rejected": "no", **more}


def read(max_bad_share: float = 0.01, **config: object) -> tuple[list[str], list[BadRecord]]:
    bad: list[BadRecord] = []
    found = read_source(SourceConfig(**config), bad.append, max_bad_share=max_bad_share)
    return [group.prompt[0].content for group in found], bad


def test_an_unreadable_record_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a"), '{"prompt": ', pair("b"), {"prompt": "c"})
    texts, bad = read(path=path, max_bad_share=0.5)
    assert texts == ["a", "b"]
    assert [(record.source, record.line) for record in bad] == [(path, 2), (path, 4)]
    assert str(bad[1]) == f"{path}:4: column 'chosen' is missing (format pairs)"


def test_too_many_unreadable_records_stop_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[pair(str(i)) for i in range(98)], "x", "y")
    with pytest.raises(RecordError, match=r"2 of 100 records cannot be read.*allowed 1\.0%"):
        read(path=path)
    assert len(read(path=path, max_bad_share=0.02)[0]) == 98


def test_columns_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a", id=1, system="s"), pair("b", system="t", note=1))
    tally = Tally()
    list(read_source(SourceConfig(path=path), print, tally=tally))
    assert (tally.forms, tally.ignored) == ({"pairs": 2}, {"system": 2, "note": 1})


def test_a_missing_file_is_found_before_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no data file at .*none.jsonl"):
        read_source(SourceConfig(path=str(tmp_path / "none.jsonl")), print)


def test_unknown_columns_list_the_known_formats(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"left": 1})
    with pytest.raises(ConfigError, match="Known formats: groups"):
        read(path=path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either `path` or `hub`"),
        ({"path": "a", "hub": "b"}, "either `path` or `hub`"),
        ({"path": "a", "format": "pear"}, "unknown data format 'pear'; did you mean 'pairs'"),
        ({"hub": "Anthropic/hh-rlhf"}, r"160,800 rows\); choose `subsets: \[helpful-base"),
        ({"path": "a", "limt": 3}, "unknown key 'limt'.*did you mean 'limit'"),
    ],
)
def test_impossible_sources(config: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SourceConfig(**config)


def test_fields_where_and_limit(tmp_path: Path) -> None:
    rows = [
        {
            "question": f"q{i}",
            "golden_x": "a",
            "golden_y": "b",
            "split": "train" if i % 2 else "dev",
        }
        for i in range(6)
    ]
    path = write(tmp_path / "a.jsonl.gz", *rows)
    config = SourceConfig(
        path=path,
        fields={"instruction": "question", "golden": "golden_y"},
        where={"split": "train"},
        limit=2,
    )
    groups = list(read_source(config, print))
    assert [group.prompt[0].content for group in groups] == ["q1", "q3"]
    assert {group.responses for group in groups} == {("b",)}
    assert detect_format(config) == "golden"


def test_a_field_that_is_not_there_is_a_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a"))
    texts, bad = read(path=path, fields={"prompt": "query"}, max_bad_share=1)
    assert texts == []
    assert bad[0].reason == "column 'query', named in `fields`, is missing"


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


def test_a_long_record_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a"), pair("x" * (2 << 20)), pair("b"))
    texts, bad = read(path=path, max_record_mb=1, max_bad_share=0.5)
    assert texts == ["a", "b"]
    assert bad == [BadRecord(path, 2, "longer than 1,048,576 bytes")]


def test_a_damaged_archive_keeps_its_place(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.jsonl.gz", *[pair(str(i)) for i in range(2000)]))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RecordError, match=r"a\.jsonl\.gz is a damaged gzip file.*fetch it again"):
        read(path=str(path))


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


def test_a_hub_name_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot read hub:nobody/nothing.*give a local `path`"):
        read(hub="nobody/nothing")


def test_real_files_are_recognised_and_read_whole(real_data: Path) -> None:
    expected = {
        "hh/pairs.train.jsonl.gz": ("pairs", 3647, 2),
        "hh/pairs.dev.jsonl.gz": ("pairs", 509, 2),
        "hh/transcripts.train.jsonl.gz": ("hh_transcripts", 3647, 2),
        "webgpt/pairs.jsonl.gz": ("pairs", 656, 2),
        "golden/gpt4_alpaca_eval.jsonl.gz": ("golden", 793, 1),
        "demonstrations/alpaca.jsonl.gz": ("alpaca", 3549, 1),
    }
    for name, (form, count, responses) in expected.items():
        config = SourceConfig(path=str(real_data / name))
        bad: list[BadRecord] = []
        sizes = [len(group.responses) for group in read_source(config, bad.append)]
        assert (detect_format(config), len(sizes), set(sizes), bad) == (
            form,
            count,
            {responses},
            [],
        )


def test_real_transcripts_and_real_pairs_are_the_same_groups(real_data: Path) -> None:
    """Two files of the same pairs in two forms: two readers must agree on every record."""
    read_both = [
        [
            (group.prompt, group.responses)
            for group in read_source(SourceConfig(path=str(real_data / "hh" / name)), print)
        ]
        for name in ("pairs.train.jsonl.gz", "transcripts.train.jsonl.gz")
    ]
    # Compared as a flag: a failing comparison of the texts would print them.
    equal = read_both[0] == read_both[1]
    assert equal


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "\n\nHuman: a\n\nAssistant: b", "a<sep>b", "assistant", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "response", "score", "full_text", "source", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
OPTIONAL = ["id", "query_id", "input", "golden", "scores", "sources", "extra", "label"]


@settings(max_examples=150)
@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_whatever_a_row_holds_it_is_a_group_or_a_named_bad_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """Nothing but RecordError comes out of any reader, and what is read can be stored."""
    columns = st.sampled_from([*FORMATS[name].needs, *OPTIONAL])
    rows = data.draw(st.lists(st.dictionaries(columns, ANYTHING, max_size=6), max_size=4))
    folder = tmp_path_factory.mktemp("fuzz")
    path = write(folder / "a.jsonl", *rows)
    bad: list[BadRecord] = []
    config = SourceConfig(path=path, format=name)
    groups = list(read_source(config, bad.append, max_bad_share=1.0))
    assert len(groups) + len(bad) == len(rows)
    write_groups(folder / "set", groups)
    assert list(read_groups(folder / "set")) == groups
