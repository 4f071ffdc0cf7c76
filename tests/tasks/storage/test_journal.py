"""Journals: a torn end costs the last record at most, other damage is named, writers do not mix."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks
from tasks.storage.errors import CorruptError, DiskError
from tasks.storage.faults import fault_count
from tasks.storage.journal import (
    append_record,
    drop_damaged,
    mend_tail,
    read_new_records,
    read_records,
    sound_records,
)

ROOT = Path(tasks.__file__).parents[1]
RECORDS = st.lists(
    st.none() | st.integers() | st.dictionaries(st.text("a\n é\x00", max_size=3), st.text("x\n 1")),
    min_size=1,
    max_size=4,
)
IN_FOLDER = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(path: Path, records: list[Any]) -> bytes:
    """Write a new journal and return its bytes."""
    path.unlink(missing_ok=True)
    for record in records:
        append_record(path, record)
    return path.read_bytes()


def test_line_by_hand(tmp_path: Path) -> None:
    """The JSON has 7 bytes; its CRC-32 is what the `crc32` command prints for them."""
    assert written(tmp_path / "j", [{"a": 1}]) == b'7 561bacaf {"a":1}\n'
    assert read_records(tmp_path / "j") == [{"a": 1}]
    assert read_records(tmp_path / "missing") == []


@IN_FOLDER
@given(RECORDS)
def test_torn_at_every_byte_loses_at_most_the_last(tmp_path: Path, records: list[Any]) -> None:
    path = tmp_path / "j"
    data = written(path, records)
    last = len(written(tmp_path / "k", records[:-1])) if records[:-1] else 0
    for cut in range(last, len(data) + 1):
        path.write_bytes(data[:cut])
        # The record is whole once only its newline is missing.
        kept = records if cut >= len(data) - 1 else records[:-1]
        assert read_records(path) == kept
        append_record(path, "next")
        assert read_records(path) == [*kept, "next"]


@IN_FOLDER
@given(RECORDS, st.data())
def test_a_changed_byte_is_found(tmp_path: Path, records: list[Any], data: st.DataObject) -> None:
    path = tmp_path / "j"
    raw = bytearray(written(path, records))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(CorruptError, match=r"damaged at line \d+"):
        read_records(path)


def test_damage_is_named_by_its_line(tmp_path: Path) -> None:
    raw = written(tmp_path / "j", ["one", "two", "three"])
    (tmp_path / "j").write_bytes(raw.replace(b"two", b"twq"))
    with pytest.raises(CorruptError, match="line 2"):
        read_records(tmp_path / "j")


def test_append_never_cuts_a_damaged_whole_line(tmp_path: Path) -> None:
    raw = written(tmp_path / "j", ["one", "two"])
    (tmp_path / "j").write_bytes(raw[:-1] + b"x")
    with pytest.raises(CorruptError):
        append_record(tmp_path / "j", "three")
    assert (tmp_path / "j").read_bytes() == raw[:-1] + b"x"


def test_long_torn_tail_is_cut_whole(tmp_path: Path) -> None:
    raw = written(tmp_path / "j", ["one", "x" * 200_000])
    (tmp_path / "j").write_bytes(raw[:-10])
    append_record(tmp_path / "j", "next")
    assert read_records(tmp_path / "j") == ["one", "next"]


@pytest.mark.parametrize("fault", ["enospc", "eio"])
def test_failed_append_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    before = written(tmp_path / "j", ["one"])
    for operation in (1, 2):
        monkeypatch.setenv("SPARRING_FAULT", f"{fault}@{fault_count() + operation}")
        with pytest.raises(DiskError):
            append_record(tmp_path / "j", "two")
        monkeypatch.delenv("SPARRING_FAULT")
        assert (tmp_path / "j").read_bytes() == before


def test_unplain_record_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        append_record(tmp_path / "j", {"a": float("nan")})
    assert not (tmp_path / "j").exists()


def test_append_waits_for_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "j"
    append_record(path, "one")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=append_record, args=(path, "two"))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and read_records(path) == ["one"]
    thread.join(10)
    assert read_records(path) == ["one", "two"]


def test_processes_append_without_mixing(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tasks.storage.journal import append_record\n"
        "for n in range(25): append_record(Path(sys.argv[1]), [sys.argv[2], n, 'x' * 5000])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path / "j")]
    writers = [subprocess.Popen([*command, name], env=env) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    records = read_records(tmp_path / "j")
    assert len(records) == 75
    for name in "abc":
        assert [record[1] for record in records if record[0] == name] == list(range(25))


def test_new_records_are_read_from_where_the_last_ended(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert read_new_records(path, 0) == ([], 0)
    append_record(path, 1)
    records, end = read_new_records(path, 0)
    assert (records, end) == ([1], path.stat().st_size)
    append_record(path, 2)
    with path.open("ab") as file:
        file.write(b"5 0")  # somebody is still writing
    records, later = read_new_records(path, end)
    assert records == [2] and read_new_records(path, later) == ([], later)
    mend_tail(path)
    assert path.stat().st_size == later
    path.write_bytes(path.read_bytes().replace(b"2\n", b"3\n"))
    with pytest.raises(CorruptError, match=rf"behind byte {end} is damaged at line 1"):
        read_new_records(path, end)


def test_mending_completes_a_whole_record_and_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "j"
    mend_tail(path)
    assert not path.exists()
    append_record(path, "whole")
    line = path.read_bytes()
    path.write_bytes(line[:-1])
    mend_tail(path)
    assert path.read_bytes() == line


def test_sound_records_are_read_past_damage_and_kept_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    for number in range(4):
        append_record(path, {"n": number})
    assert sound_records(path) == ([{"n": n} for n in range(4)], "")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 3] ^= 1
    path.write_bytes(data)
    found, problem = sound_records(path)
    assert len(found) == 3 and "damaged at line" in problem
    drop_damaged(path)
    append_record(path, {"n": 4})
    assert read_records(path) == [*found, {"n": 4}]
    assert sound_records(tmp_path / "none") == ([], "")
