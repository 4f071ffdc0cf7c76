"""Files of every layout give the same rows; what is no data file is named in a sentence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import feather, ipc, parquet

from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import local_files
from tasks.data.sources.row import Caps
from tasks.data.sources.rows import read_rows
from tasks.settings.errors import ConfigError, RecordError

ROWS = [
    {"prompt": "How do I boil an egg?", "chosen": 'For "eight", minutes.', "rejected": "Ü\n{["},
    {"prompt": "Name a river.", "chosen": "The Ucayali.", "rejected": "007"},
    {"prompt": "Why?", "chosen": "So.", "rejected": "[1]"},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
NUMBERED = {name: dict(zip("012", cells, strict=True)) for name, cells in COLUMNS.items()}
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = pyarrow.Table.from_pylist(ROWS)


def stream(path: Path) -> None:
    """Write Arrow's format for streams, as `datasets` does."""
    with pyarrow.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def cells(delimiter: str) -> str:
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row.values()] for row in ROWS]
    return "\r\n".join(delimiter.join(line) for line in [list(ROWS[0]), *quoted])


FILES: dict[str, str | bytes | Callable[[Path], None]] = {
    "lines.jsonl": LINES,
    "array.json": json.dumps(ROWS, indent=2),
    "indented.json": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "open.json": "\n".join(json.dumps(row).replace("{", "{\n", 1) for row in ROWS),
    "wrapped.json": json.dumps({"data": ROWS}, indent=1),
    "wrapped_line.json": json.dumps({"version": "1.0", "count": 3, "rows": ROWS, "end": True}),
    "wrapped_lines.json": '{"data": [\n' + ",\n".join(map(json.dumps, ROWS)) + "\n]}\n",
    "columns.json": json.dumps(COLUMNS),
    "columns_indented.json": json.dumps(COLUMNS, indent=2),
    "pandas.json": json.dumps(NUMBERED),
    "marked.jsonl": LINES.encode("utf-16"),
    "unmarked.jsonl": LINES.encode("utf-16-le"),
    "big.jsonl": LINES.encode("utf-16-be"),
    "wide.jsonl": LINES.encode("utf-32"),
    "zipped.json.gz": gzip.compress(json.dumps(ROWS).encode("utf-16")),
    "a.csv": cells(","),
    "A.CSV": cells(","),
    "b.csv": "\ufeff" + cells(";"),
    "c.tsv": cells("\t"),
    "d.csv": cells("\t").encode("utf-16"),
    "e.csv.gz": gzip.compress(cells(",").encode()),
    "a.parquet": lambda path: parquet.write_table(TABLE, path),
    "a.feather": lambda path: feather.write_feather(TABLE, str(path)),
    "a.arrow": stream,
}


def write(path: Path, content: str | bytes | Callable[[Path], None]) -> Path:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(path: Path, caps: Caps | None = None) -> list:
    return [row.value if row.value is not None else row.problem for row in read_rows(path, caps)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("block", [1 << 20, 7])
def test_a_file_of_any_layout_gives_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    """Blocks of a few bytes cut characters, strings and escapes anywhere."""
    monkeypatch.setattr("tasks.data.sources.blocks._BLOCK", block)
    monkeypatch.setattr("tasks.data.sources.lines._PEEK", 64)
    assert values(write(tmp_path / name, FILES[name])) == ROWS


def test_a_wrapper_streams_and_is_capped(tmp_path: Path) -> None:
    rows = [{"a": "x" * 50}] * 5
    path = write(tmp_path / "a.json", json.dumps({"data": rows}))
    assert values(path, Caps(100)) == rows
    assert values(path, Caps(40)) == ["longer than 40 bytes"] * 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', r"goes on behind the list.*\"test\""),
        ('{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}', "goes on behind the list"),
        ('[{"a": 1}][{"a": 2}]', "goes on behind its array"),
        ('{\n"a": 1\n}\n{\n"a": 2\n', "breaks off inside its last object"),
        ('{"prompt": ["a", "b"], "chosen": ["c"], "rejected": ["d", "e"]}', "different lengths"),
        ("prompt,chosen\na,b\n", r"is not JSON, it begins with 'prompt,chosen'; a CSV file's"),
    ],
)
def test_what_would_be_lost_of_a_file_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        values(write(tmp_path / "a.json", text))


def test_a_record_of_lists_is_no_object_of_columns(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    rows = [{"prompt": turns, "responses": ["c", "d"], "scores": [1, 0]}]
    rows += [{"text": ["a<sep>b", "a<sep>c"], "scores": [1, 0]}, {"a": {"0": 1}, "b": {"x": 1}}]
    for row in rows:
        assert values(write(tmp_path / "a.jsonl", json.dumps(row))) == [row]
    stacked = {"messages": [turns, turns[:1]]}
    assert values(write(tmp_path / "a.json", json.dumps(stacked))) == [
        {"messages": turns},
        {"messages": turns[:1]},
    ]


def test_a_damaged_first_line_is_one_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"prompt": "a\n{"a": 1}\n{"a": 2}\n')
    said, *rest = values(path)
    assert said.startswith("not JSON") and rest == [{"a": 1}, {"a": 2}]


def test_cells_that_do_not_fit_the_first_line_are_a_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n1,2,3\n\n,4\n")
    problem = "3 cells, where the first line names 2 columns"
    assert values(path) == [{"a": "1", "b": "2"}, problem, {"b": "4"}]
    with pytest.raises(RecordError, match="two columns named 'a'"):
        values(write(tmp_path / "b.csv", "a,a\n1,2\n"))
    with pytest.raises(RecordError, match=r"c\.csv is a damaged CSV file at line 2"):
        values(write(tmp_path / "c.csv", 'a,b\n"1"x,2\n'))
    with pytest.raises(RecordError, match=r"d\.csv is not UTF-8"):
        values(write(tmp_path / "d.csv", b"a,b\n\xff,2\n"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04...", "is a zip archive or an Excel workbook; unpack it"),
        (b"BZh91AY", "is a bzip2 archive"),
        (b"\xfd7zXZ\x00", "is an xz archive"),
        (b"\x28\xb5\x2f\xfd", "is a zstandard archive"),
        (b"SQLite format 3\x00", "is an SQLite data base"),
        (b"FEA1....", "is a feather file of version 1"),
        (b"\x80\x04\x95", "is a Python pickle, which could run code"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\n  <HTML><body>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.*git lfs pull"),
        ("a".encode("utf-16") + b"\x00", "is damaged utf-16.*save it as UTF-8"),
        (b"ARROW1\x00\x00...", "is a damaged Arrow file after row 0"),
    ],
)
def test_what_is_no_data_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=rf"a\.jsonl {words}"):
        values(write(tmp_path / "a.jsonl", content))


def test_what_datasets_saved_is_read(tmp_path: Path) -> None:
    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(train=one, test=one.select([0])).save_to_disk(tmp_path / "two")
    found = {
        split: [
            value
            for file in local_files(SourceConfig(path=str(tmp_path / folder), split=split))
            for value in values(file)
        ]
        for folder, split in (("one", "train"), ("two", "test"))
    }
    assert found == {"train": ROWS, "test": ROWS[:1]}
    with pytest.raises(ConfigError, match="has no split 'dev'; it has train, test"):
        local_files(SourceConfig(path=str(tmp_path / "two"), split="dev"))
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"state\.json is damaged"):
        local_files(SourceConfig(path=str(tmp_path / "one")))


def test_one_thing_in_two_files_is_not_read_twice(tmp_path: Path) -> None:
    for name in ("train.jsonl", "train.csv"):
        write(tmp_path / name, LINES)
    with pytest.raises(ConfigError, match=r"the same twice, train\.csv, train\.jsonl; name one"):
        local_files(SourceConfig(path=str(tmp_path)))


def test_an_object_of_unequal_columns_is_refused_by_its_files_name(tmp_path: Path) -> None:
    path = write(tmp_path / "columns.json", '{"prompt": ["a", "b"], "chosen": ["c"]}')
    with pytest.raises(RecordError, match=r"columns\.json is an object of columns of different"):
        list(read_rows(path))
