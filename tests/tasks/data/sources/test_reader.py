"""Sources read as groups: limits, real files, and the fate of unreadable records."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.data.files import read_groups, write_groups
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.forms.registry import FORMS
from tasks.data.sources.reader import detect_format, read_source
from tasks.data.sources.tally import BadRecord
from tasks.settings.errors import ConfigError, RecordError
from tests.tasks.data.sources.written import pair, read, write


def test_an_unreadable_record_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", pair("a"), '{"prompt": ', pair("b"), {"prompt": "c", "chosen": 1}
    )
    texts, bad = read(path=path, max_bad_share=0.5)
    assert texts == ["a", "b"]
    assert [(record.source, record.line) for record in bad] == [(path, 2), (path, 4)]
    told = "'rejected' is missing, which the form 'pairs' needs; the record has chosen, prompt"
    assert str(bad[1]) == f"{path}:4: {told}"


def test_too_many_unreadable_records_stop_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[pair(str(i)) for i in range(98)], "x", "y")
    with pytest.raises(RecordError, match=r"2 of 100 records cannot be read.*allowed 1\.0%"):
        read(path=path)
    assert len(read(path=path, max_bad_share=0.02)[0]) == 98


def test_a_missing_file_is_found_before_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no data file at .*none.jsonl"):
        read_source(SourceConfig(path=str(tmp_path / "none.jsonl")), print)


def test_unknown_columns_are_named_with_the_commonest_form(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"left": 1})
    with pytest.raises(ConfigError, match="the commonest form is 'pairs'"):
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
OPTIONAL = ["id", "query_id", "input", "system", "history", "scores", "sources", "extra", "label"]


@settings(max_examples=150)
@given(st.data(), st.sampled_from(sorted(FORMS)))
def test_whatever_a_row_holds_it_is_a_group_or_a_named_bad_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """Nothing but RecordError comes out of any reader, and what is read can be stored."""
    needs = [column.replace("…", "") for need in FORMS[name].needs for column in need.split("|")]
    columns = st.sampled_from([*needs, *OPTIONAL])
    rows = data.draw(
        st.lists(st.dictionaries(columns, ANYTHING, max_size=6), min_size=1, max_size=4)
    )
    folder = tmp_path_factory.mktemp("fuzz")
    path = write(folder / "a.jsonl", *rows)
    bad: list[BadRecord] = []
    config = SourceConfig(path=path, format=name)
    groups = list(read_source(config, bad.append, max_bad_share=1.0))
    if FORMS[name].merge is None:
        assert len(groups) + len(bad) == len(rows)
    write_groups(folder / "set", groups)
    assert list(read_groups(folder / "set")) == groups
