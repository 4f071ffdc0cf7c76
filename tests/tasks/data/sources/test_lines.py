"""Raw rows: every file form, and hostile files that must be named and must not eat the memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.sources.lines import decode_record
from tasks.data.sources.row import Caps
from tasks.data.sources.rows import read_rows
from tasks.settings.errors import RecordError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\{[,'), inner),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text('xyz"\\}],', max_size=3), JSON, max_size=3), max_size=6)


def values(path: Path, caps: Caps | None = None) -> list:
    return [row.value if row.value is not None else row.problem for row in read_rows(path, caps)]


@settings(max_examples=60)
@given(rows=ROWS, indent=st.sampled_from([None, 2]), block=st.integers(4, 40))
def test_every_form_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list, indent: int | None, block: int
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    array = json.dumps(rows, indent=indent).encode()
    forms = {
        "a.jsonl": lines,
        "b.jsonl.gz": gzip.compress(lines),
        "c.json": array,
        "d.json.gz": gzip.compress(array),
        "e.jsonl": b"\xef\xbb\xbf" + lines.removesuffix(b"\n"),
    }
    with pytest.MonkeyPatch.context() as patch:
        # Blocks of a few bytes (a byte-order mark still whole) cut strings and escapes anywhere.
        patch.setattr("tasks.data.sources.blocks._BLOCK", block)
        patch.setattr("tasks.data.sources.lines._PEEK", 8)
        for name, data in forms.items():
            (folder / name).write_bytes(data)
            assert values(folder / name) == rows, name


def test_parquet_rows(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"prompt": f"p{i}", "scores": [1.0, float(i)]} for i in range(700)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(RecordError, match=r"a\.parquet is a damaged parquet file"):
        values(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} x', "not JSON: Extra data"),
        (b'{"a": "b', "^not JSON: Unterminated string starting at character 6$"),
        (b'{"a": 1,}', "^not JSON: a comma before the closing bracket, at character"),
        (b'{"a": [1, ]}', "^not JSON: a comma before the closing bracket, at character"),
        (b'{"a": 1},', "^not JSON: a comma behind the object, at character 8$"),
        (b"{'a': 1}", "^not JSON: single quotes, where JSON has double ones, at character 1$"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' appears twice"),
        (b"[1]", "expected an object with named columns, got a list"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": [' + b"[]," * 1_000_000 + b"1]}", "values in one record"),
    ],
)
def test_a_bad_record_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        decode_record(data)


def test_line_numbers_are_the_files_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\n{"a": 1}\n  \nwrong\n{"a": 2}')
    rows = list(read_rows(tmp_path / "a.jsonl"))
    assert [(row.number, row.value is None) for row in rows] == [(2, False), (4, True), (5, False)]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert values(tmp_path / "a.jsonl") == []


def test_a_long_line_is_skipped_and_the_rest_is_read(tmp_path: Path) -> None:
    long = b'{"a": "' + b"x" * 3_000_000 + b'"}'
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + long + b'\n{"a": 2}\n' + long)
    skipped = "longer than 1,000 bytes"
    assert values(tmp_path / "a.jsonl", Caps(1000)) == [{"a": 1}, skipped, {"a": 2}, skipped]


def test_a_long_array_element_ends_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"a": 1}, {"a": "' + b"x" * 5_000_000 + b'"}]')
    with pytest.raises(RecordError, match="record 2 is longer than 1,000 bytes"):
        values(tmp_path / "a.json", Caps(1000))


@pytest.mark.parametrize("cut", [1, 6, 12, 20])
def test_an_array_that_breaks_off_is_an_error(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"a": 1}, {"a": "b"}]'[:-cut])
    with pytest.raises(RecordError, match=r"breaks off|fetch it again"):
        values(tmp_path / "a.json")


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    data = gzip.compress(b'{"a": 1}\n' * 1000)
    for cut in (len(data) // 2, len(data) - 4):
        (tmp_path / "a.jsonl.gz").write_bytes(data[:cut])
        with pytest.raises(RecordError, match=r"a\.jsonl\.gz is a damaged gzip file"):
            values(tmp_path / "a.jsonl.gz")


HOSTILE = """
import sys
from pathlib import Path
from tasks.data.sources.rows import read_rows
from tasks.settings.errors import RecordError
try:
    print([row.problem for row in read_rows(Path(sys.argv[1]))])
except RecordError as error:
    print("RecordError", error)
# Not getrusage: its peak is inherited from the process that started this one.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def hostile(path: Path) -> tuple[str, int]:
    """Read a file in a process of its own; return what it said and its peak memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(path)], capture_output=True, text=True, check=True
    )
    said, peak = done.stdout.strip().splitlines()
    return said, int(peak)


def test_a_gzip_bomb_stops_the_reader_in_bounded_memory(tmp_path: Path) -> None:
    """600 MB of one line in 0.6 MB: over the ratio, and never in memory."""
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=6) as file:
        for _ in range(600):
            file.write(b"x" * (1 << 20))
    said, peak = hostile(tmp_path / "bomb.jsonl.gz")
    assert "RecordError" in said and "expands more than 200 times" in said
    assert peak < 512


def test_a_huge_line_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"a": "')
        file.truncate(1 << 30)
        file.seek(1 << 30)
        file.write(b'"}\n{"a": 1}\n')
    said, peak = hostile(path)
    assert said == "['longer than 67,108,864 bytes', '']"
    assert peak < 512


def test_inputs_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n')
    before = (tmp_path / "a.jsonl").stat()
    values(tmp_path / "a.jsonl")
    after = (tmp_path / "a.jsonl").stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
