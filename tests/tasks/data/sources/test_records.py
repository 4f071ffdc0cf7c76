"""What becomes of a source's records: which form each has, selected, mapped, joined, counted."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
import yaml
from pyarrow import parquet

from tasks.data.groups import Message
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import detect_format, read_source
from tasks.data.sources.tally import Tally
from tasks.settings.errors import ConfigError
from tests.tasks.data.sources.written import BOT, CHOICE, dialogue, pair, read, write


def test_columns_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a", id=1, system="s"), pair("b", system="t", note=1))
    tally = Tally()
    list(read_source(SourceConfig(path=path), print, tally=tally))
    assert (tally.forms, tally.ignored) == ({"pairs": 2}, {"system": 2, "note": 1})


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
    asked = [group.prompt[0].content for group in groups]
    assert len(asked) == 2 and asked == [name for name in ("q1", "q3", "q5") if name in asked]
    assert {group.responses for group in groups} == {("b",)}
    assert detect_format(config) == "golden"


def test_the_first_rows_are_those_of_every_file_as_they_come(tmp_path: Path) -> None:
    """A row that cannot be read is one of them; a limit samples what is left."""
    for name in ("one", "two"):
        path = tmp_path / name / "train.jsonl"
        path.parent.mkdir()
        write(path, *(pair(f"{name}{i}") for i in range(9)))
        path.write_text("{broken\n" + path.read_text())
    config = SourceConfig(path=str(tmp_path), subsets=("one", "two"), rows=3)
    bad: list[object] = []
    groups = list(read_source(config, bad.append, max_bad_share=1))
    asked = [group.prompt[0].content for group in groups]
    assert len(bad) == 2 and len(asked) == 4
    assert [name[:3] for name in asked] == ["one", "one", "two", "two"]
    limited = config.model_copy(update={"limit": 3})
    assert len(list(read_source(limited, bad.append, max_bad_share=1))) == 3


def test_a_limit_takes_a_sample_of_a_sorted_source(tmp_path: Path) -> None:
    """As IMDB is published: all reviews of one label, then all of the other."""
    rows = [{"text": f"review {i}", "label": int(i >= 50)} for i in range(100)]
    path = write(tmp_path / "a.jsonl", *rows)
    parts = {
        seed: list(read_source(SourceConfig(path=path, limit=40, seed=seed), print))
        for seed in (0, 1)
    }
    for part in parts.values():
        assert len(part) == 40 and {group.scores for group in part} == {(0.0,), (1.0,)}
    assert parts[0] != parts[1]
    tally = Tally()
    list(read_source(SourceConfig(path=path, limit=40), print, tally=tally))
    assert (tally.forms, tally.left_out) == ({"texts": 100}, {"not_sampled": 60})


def test_where_compares_values_of_their_own_type(tmp_path: Path) -> None:
    values = [True, 1, "1", 1.5, None, "null", "true"]
    path = write(tmp_path / "a.jsonl", *[pair(repr(value), kind=value) for value in values])
    for value in values:
        # What YAML makes of the words `kind: true`, `kind: 1`, `kind: "1"`…
        where = yaml.safe_load(yaml.safe_dump({"kind": value}))
        assert read(path=path, where=where)[0] == [repr(value)]
    assert read(path=path, where={"nowhere": None, "kind": 1.0})[0] == ["1"]


def test_a_selection_of_nothing_shows_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a", kind=1), pair("b", kind=2))
    with pytest.raises(ConfigError, match=r"for, \{'kind': '1'\}; the first one has \{'kind': 1\}"):
        read(path=path, where={"kind": "1"})


def test_a_column_of_where_is_read(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.jsonl", pair("a", kind=1, other=2)), Tally()
    list(read_source(SourceConfig(path=path, where={"kind": 1}), print, tally=tally))
    assert tally.ignored == {"other": 1}


def test_two_key_styles_in_one_file_are_read_record_by_record(tmp_path: Path) -> None:
    styles = [{"role": "user", "content": "a"}, {"from": "human", "value": "b"}]
    rows = [{"prompt": [style], "chosen": "yes", "rejected": "no"} for style in styles]
    rows += [{"chosen": dialogue("yes"), "rejected": dialogue("no")}, {"question": "d", **CHOICE}]
    assert read(path=write(tmp_path / "a.jsonl", *rows)) == (["a", "b", "c", "d"], [])


def test_arrow_fills_with_null_what_another_set_has(tmp_path: Path) -> None:
    """Two sets put together: columns, and keys of messages, that only one of them has are null."""
    human = [{"from": "human", "value": "b"}]
    rows = [
        {"prompt": [{"role": "user", "content": "a"}], "chosen": [BOT], "rejected": [BOT]},
        {"prompt": human, "chosen": [BOT], "rejected": [BOT], "score": 1.0},
        {"chosen": dialogue("yes"), "rejected": dialogue("no")},
    ]
    parts = pyarrow.concat_tables(
        [pyarrow.Table.from_pylist([row]) for row in rows], promote_options="permissive"
    )
    parquet.write_table(parts, tmp_path / "a.parquet")
    tally = Tally()
    groups = list(read_source(SourceConfig(path=str(tmp_path / "a.parquet")), print, tally=tally))
    assert [group.prompt for group in groups] == [(Message("user", text),) for text in "abc"]
    assert (tally.forms, tally.ignored) == ({"pairs": 3}, {"score": 1})


def test_labelled_answers_of_one_prompt_are_compared(tmp_path: Path) -> None:
    """Both labels: a comparison; only good ones: demonstrations; only bad ones: left out."""
    answers = [("a", "x", True), ("b", "x", True), ("a", "y", False), ("c", "y", False)]
    answers += [("b", "y", True), ("a", "z", True)]
    rows = [{"prompt": p, "completion": c, "label": good} for p, c, good in answers]
    tally = Tally()
    path = write(tmp_path / "a.jsonl", *rows)
    groups = list(read_source(SourceConfig(path=path), print, tally=tally))
    assert [(group.prompt[0].content, group.responses, group.scores) for group in groups] == [
        ("a", ("x", "z", "y"), (1.0, 1.0, 0.0)),
        ("b", ("x",), None),
        ("b", ("y",), None),
    ]
    assert (tally.forms, tally.left_out) == ({"labelled": 6}, {"labelled_bad": 1})
    assert len(list(read_source(SourceConfig(path=path, limit=2), print))) == 2


def test_rated_answers_of_one_prompt_are_compared(tmp_path: Path) -> None:
    """As HelpSteer has them, two rows for a prompt, by the attribute that `fields` chooses."""
    answers = [("a", "x", 1), ("a", "y", 4), ("b", "x", 3)]
    rows = [{"prompt": p, "response": r, "helpfulness": s, "verbosity": 2} for p, r, s in answers]
    config = SourceConfig(path=write(tmp_path / "a.jsonl", *rows), fields={"score": "helpfulness"})
    tally = Tally()
    (group,) = read_source(config, print, tally=tally)
    assert (group.responses, group.scores) == (("y", "x"), (4.0, 1.0))
    assert (tally.left_out, tally.ignored) == ({"rated_alone": 1}, {"verbosity": 3})


def test_a_source_of_an_unknown_form_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Ten records are enough; one at the start of a good file is a bad record like any other."""
    unknown = [{"left": 1}] * 10
    path = write(tmp_path / "a.jsonl", *unknown, pair("a"))
    with pytest.raises(ConfigError, match=r"a\.jsonl:1: cannot tell the format"):
        read(path=path, max_bad_share=1)
    path = write(tmp_path / "a.jsonl", {"left": 1}, "wrong", pair("a"), pair("b"))
    texts, bad = read(path=path, max_bad_share=0.5)
    assert (texts, sorted(record.line for record in bad)) == (["a", "b"], [1, 2])


def test_a_field_that_is_not_there_is_a_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", pair("a"))
    texts, bad = read(path=path, fields={"prompt": "query"}, max_bad_share=1)
    assert texts == []
    assert bad[0].reason == "column 'query', named in `fields`, is missing"
