"""Encoded groups come back as they were written, from files that are mapped, not read."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.groups import Group, Message
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import RecordError, StageError
from tasks.training.data.encoded import EncodedFolder, EncodedWriter

IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5)


@st.composite
def rows(draw) -> tuple[Group, EncodedGroup]:
    """A group with K responses and ids that have nothing to do with its text."""
    count = draw(st.integers(1, 4))
    scores = draw(st.none() | st.tuples(*[st.floats(-9, 9, width=32)] * count))
    group = Group(
        (Message("user", "?"),), ("r",) * count, scores, id=draw(st.text(min_size=1, max_size=4))
    )
    cuts = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    ids = draw(st.lists(IDS, min_size=count, max_size=count))
    return group, EncodedGroup(draw(IDS), ids, draw(st.booleans()), cuts)


def write(path: Path, pairs) -> EncodedFolder:
    path.mkdir(parents=True)
    with EncodedWriter(path) as writer:
        for group, encoded in pairs:
            writer.write(group, encoded)
    return EncodedFolder(path)


def made(number: int, scores=(1.0, 0.0), name="") -> tuple[Group, EncodedGroup]:
    group = Group((Message("user", f"{number}"),), ("a", "b"), scores, id=name)
    return group, EncodedGroup([number, 1], [[2], [3, 4]], False, [False, False])


@settings(max_examples=50)
@given(st.lists(rows(), max_size=6))
def test_what_was_written_comes_back(tmp_path_factory, pairs) -> None:
    folder = write(tmp_path_factory.mktemp("encoded") / "part", pairs)
    assert len(folder) == len(pairs) == len(folder.sizes())
    for row, (group, encoded) in enumerate(pairs):
        assert folder.encoded(row) == encoded
        assert folder.name(row) == group.id
        lengths = [len(ids) for ids in encoded.responses_ids]
        prompt = len(encoded.prompt_ids)
        assert folder.sizes()[row] == prompt + sum(lengths)
        assert folder.sizes(shared=False)[row] == len(lengths) * (prompt + max(lengths))
        expected = group.scores or (0.0,) * len(lengths)
        assert folder.scores([row]).tolist() == [list(expected)]
    assert folder.counts["tokens"] == sum(folder.sizes())


def test_slots_of_groups_of_unlike_size(tmp_path) -> None:
    """By hand: responses 0, 1 | 2 | 3, 4; groups 2 and 1 side by side."""
    single = Group((Message("user", "?"),), ("a",), (5.0,))
    middle = single, EncodedGroup([9], [[9]], False, [False])
    folder = write(tmp_path / "part", [made(0), middle, made(2, (7.0, 8.0))])
    values = torch.tensor([0.0, -1.0, -2.0, -3.0, -4.0])
    assert folder.per_slot(values, [2, 1]).tolist() == [[-3.0, -4.0], [-2.0, 0.0]]
    assert folder.scores([2, 1]).tolist() == [[7.0, 8.0], [5.0, 0.0]]
    assert folder.largest == (made(0)[0].id, 5)


def test_the_digest_is_of_tokens_and_their_order(tmp_path) -> None:
    def digest(name: str, pairs) -> str:
        return write(tmp_path / name, pairs).digest

    first = digest("a", [made(0), made(1)])
    assert first == digest("b", [made(0, scores=(5.0, 4.0), name="other"), made(1)])
    assert first != digest("c", [made(1), made(0)])
    # The same flat ids with the boundary elsewhere.
    group, encoded = made(0)
    moved = EncodedGroup(encoded.prompt_ids[:1], [[1, 2], [3, 4]], False, [False, False])
    assert digest("d", [made(0)]) != digest("e", [(group, moved)])


@pytest.mark.parametrize(
    "encoded",
    [
        EncodedGroup([1], [], False, []),
        EncodedGroup([1], [[2], []], False, [False, False]),
        EncodedGroup([], [[2]], False, [False]),
    ],
    ids=["no response", "an empty response", "an empty prompt"],
)
def test_what_has_no_tokens_is_refused_by_name(encoded, tmp_path) -> None:
    with pytest.raises(RecordError, match="group odd .* no token"):
        write(tmp_path / "part", [(Group((), (), id="odd"), encoded)])
    assert not (tmp_path / "part" / "index.json").exists()


@pytest.mark.parametrize("name", ["ids.npy", "index.json"])
def test_a_folder_that_is_not_whole_is_named(name, tmp_path) -> None:
    folder = write(tmp_path / "part", [made(0)])
    (folder.path / name).unlink()
    with pytest.raises(StageError, match="part holds no encoded groups"):
        EncodedFolder(folder.path)


def test_no_such_row(tmp_path) -> None:
    folder = write(tmp_path / "part", [made(0)])
    for row in (-1, 1):
        with pytest.raises(IndexError, match="which has 1"):
            folder.encoded(row)


def test_memory_does_not_grow_with_the_number_of_groups(tmp_path) -> None:
    peaks = []
    for count in (100, 10_000):
        path = tmp_path / str(count)
        tracemalloc.start()
        folder = write(path, (made(number) for number in range(count)))
        for row in range(0, count, count // 50):
            folder.encoded(row)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert all(isinstance(array, np.memmap) for array in folder._arrays.values())
    # The larger folder has 2 MB of ids and edges; what other threads do meanwhile is counted too.
    assert peaks[1] < peaks[0] + 1_000_000
