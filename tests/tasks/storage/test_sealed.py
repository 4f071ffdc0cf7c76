"""Files under a seal: whatever happens to their bytes, they are read as written or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.storage.errors import CorruptError
from tasks.storage.sealed import (
    read_sealed,
    read_sealed_text,
    sealed_json,
    sealed_text,
    unsealed_json,
    write_sealed,
)

RECORD = {"id": "apo-1", "name": "e" * 64, "owner": {"pid": 7}, "records": 38, "note": "schön"}
YAML = "seed: 1\nstart:\n  policy: update_policy/abc\n"


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """A flipped bit, a cut, a hole of zeros, or a block that is missing."""
    start = draw(st.integers(0, len(data) - 1))
    end = min(len(data), start + draw(st.integers(1, 64)))
    flipped = bytes([data[start] ^ (1 << draw(st.integers(0, 7)))])
    return draw(
        st.sampled_from([
            data[:start] + flipped + data[start + 1 :],
            data[:start],
            data[:start] + bytes(end - start) + data[end:],
            data[:start] + data[end:],
        ])
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(damaged(sealed_json(RECORD).encode()))
def test_a_damaged_record_is_refused_or_read_as_written(data: bytes) -> None:
    try:
        assert unsealed_json(data, "run.json") == RECORD
    except CorruptError as error:
        assert "run.json is damaged" in str(error)


def test_every_single_bit_of_a_record(tmp_path: Path) -> None:
    data = sealed_json(RECORD).encode()
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            assert unsealed_json(bytes(flipped), "x") == RECORD
        except CorruptError:
            continue


def test_a_text_stays_what_it_was_or_is_refused(tmp_path: Path) -> None:
    """All flips of one bit, and all cuts: a cut one never passes for a shorter one from before."""
    path, data = tmp_path / "config.yaml", sealed_text(YAML).encode()
    cuts = [data[:end] for end in range(len(data))]
    flips = [
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]
    for damaged_bytes in cuts + flips:
        path.write_bytes(damaged_bytes)
        try:
            text = read_sealed_text(path)
        except CorruptError as error:
            assert f"{path} is damaged" in str(error)
            continue
        assert text == YAML


def test_what_was_written_before_seals_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    assert read_sealed(tmp_path / "run.json") == RECORD
    (tmp_path / "config.yaml").write_text(YAML)
    assert read_sealed_text(tmp_path / "config.yaml") == YAML


def test_there_and_back(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", RECORD)
    assert read_sealed(tmp_path / "a.json") == RECORD
    (tmp_path / "a.yaml").write_text(sealed_text(YAML))
    assert read_sealed_text(tmp_path / "a.yaml") == YAML
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "none.json")


@pytest.mark.parametrize("data", [b"", b"[]", b"nan", b"\xff\xfe", b"{" * 10**5, b'{"a": NaN}'])
def test_no_object_of_ours(data: bytes) -> None:
    with pytest.raises(CorruptError, match="x is damaged"):
        unsealed_json(data, "x")


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.floats(allow_nan=False)))
def test_numbers_keep_their_seal(values: dict[str, Any]) -> None:
    finite = {key: value for key, value in values.items() if abs(value) != float("inf")}
    assert unsealed_json(sealed_json(finite).encode(), "x") == finite
