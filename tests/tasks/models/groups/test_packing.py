"""Rows of groups: every token once, in its place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.groups.packing import fill_rows, group_tokens, pack, split_group
from tasks.models.tokens.encoding import EncodedGroup
from tests.tasks.models.families import group, ragged_groups


def test_a_row_by_hand() -> None:
    first = EncodedGroup([5, 6], [[7], [8, 9]], False, [False, False])
    second = EncodedGroup([4], [[3, 2, 1]], False, [False])
    row = pack([first, second])
    assert row.input_ids.tolist() == [[5, 6, 7, 8, 9, 4, 3, 2, 1]]
    assert row.position_ids.tolist() == [[0, 1, 2, 2, 3, 0, 1, 2, 3]]
    assert row.edges.tolist() == [[0, 2, 3, 5], [5, 6, 9, 9]]
    assert row.scored.tolist() == [1, 1, 3, 5, 6, 7]
    assert row.targets.tolist() == [7, 8, 9, 3, 2, 1]
    assert row.slots.tolist() == [0, 1, 1, 2, 2, 2]
    assert row.last.tolist() == [[2, 4], [8, 0]]
    assert row.mask.tolist() == [[True, True], [True, False]]
    assert row.lengths.tolist() == [[1, 2], [3, 0]]
    assert row.tokens == row.computed == 9
    assert row.to("cpu").edges.device.type == "cpu"


@given(groups=ragged_groups(most=5))
def test_every_response_is_in_the_row_behind_its_prompt(groups: list[EncodedGroup]) -> None:
    row = pack(groups)
    width = row.mask.shape[1]
    ids, places = row.input_ids[0], row.position_ids[0]
    assert row.tokens == sum(map(group_tokens, groups))
    for b, whole in enumerate(groups):
        edges = row.edges[b].tolist()
        assert ids[edges[0] : edges[1]].tolist() == whole.prompt_ids
        for k, response in enumerate(whole.responses_ids):
            mine = row.slots == b * width + k
            assert row.targets[mine].tolist() == response
            assert ids[edges[k + 1] : edges[k + 2]].tolist() == response
            # What predicts a token is the token one position before it.
            assert places[row.scored[mine]].tolist() == [
                len(whole.prompt_ids) - 1 + n for n in range(len(response))
            ]
            assert ids[row.last[b, k]] == response[-1]


def test_nothing_to_read_is_refused() -> None:
    empty = EncodedGroup([5], [], False, [])
    with pytest.raises(ValueError, match="at least one response, got none"):
        pack([empty])
    for broken in (group(0, [1]), group(1, [1, 0])):
        with pytest.raises(ValueError, match="at least one token"):
            pack([broken])
    assert pack([empty, group(1, [2])]).mask.tolist() == [[False], [True]]


@given(whole=ragged_groups(most=1), budget=st.integers(1, 60))
def test_parts_of_a_group_are_the_group(whole: list[EncodedGroup], budget: int) -> None:
    (whole_group,) = whole
    parts = split_group(whole_group, budget)
    assert [ids for part in parts for ids in part.responses_ids] == whole_group.responses_ids
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert part.prompt_ids == whole_group.prompt_ids
        assert len(part.truncated_responses) == len(part.responses_ids) >= 1
        assert group_tokens(part) <= budget or len(part.responses_ids) == 1
        if following is not None:  # the next response did not fit any more
            assert group_tokens(part) + len(following.responses_ids[0]) > budget


@given(sizes=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 60))
def test_rows_hold_everything_within_the_budget(sizes: list[int], budget: int) -> None:
    rows = fill_rows(sizes, budget)
    assert sorted(item for row in rows for item in row) == list(range(len(sizes)))
    sums = [sum(sizes[item] for item in row) for row in rows]
    assert all(held <= budget or len(row) == 1 for held, row in zip(sums, rows, strict=True))
    assert [max(sizes[item] for item in row) for row in rows] == sorted(
        (max(sizes[item] for item in row) for row in rows), reverse=True
    )
    # First fit: two rows together never fit into one.
    assert all(
        sums[a] + min(sizes[item] for item in rows[b]) > budget
        for a in range(len(rows))
        for b in range(a + 1, len(rows))
    )


def test_a_row_goes_to_its_device_but_for_the_edges() -> None:
    row = pack([group(2, [1])]).to("meta")
    assert row.input_ids.device.type == "meta"
    assert row.edges.device == torch.device("cpu")


def test_tokens_of_a_row() -> None:
    """By hand: 3 + 1 + 4 shared; two rows of 3 + 4 else."""
    group = EncodedGroup([1, 2, 3], [[4], [5, 6, 7, 8]], False, [False, False])
    assert group_tokens(group, shared=True) == 8
    assert group_tokens(group, shared=False) == 14
