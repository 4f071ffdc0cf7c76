"""Rectangles: masks come from lengths, whatever the ids; batches respect their size."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.padded_batches import collate
from tasks.models.tokens.encoding import EncodedGroup

# The pad id 0 occurs among real tokens: no mask may come from ids.
IDS = st.lists(st.integers(0, 3), min_size=1, max_size=5)
GROUPS = st.lists(st.tuples(IDS, st.lists(IDS, max_size=3)), min_size=1, max_size=4).filter(
    lambda groups: any(responses for _, responses in groups)
)


def encoded(prompt: list[int], responses: list[list[int]]) -> EncodedGroup:
    return EncodedGroup(prompt, responses, False, [False] * len(responses))


def test_hand_written_batch() -> None:
    batch = collate([encoded([5, 6], [[7, 0]]), encoded([8], [[9], [4, 3, 0]])], pad_id=0)
    assert batch.input_ids.tolist() == [[5, 6, 7, 0], [8, 9, 0, 0], [8, 4, 3, 0]]
    assert batch.attention_mask.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.response_mask.int().tolist() == [[0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 1]]
    assert batch.rows.tolist() == [[0, -1], [1, 2]]
    assert batch.mask.tolist() == [[True, False], [True, True]]
    assert batch.lengths.tolist() == [[2, 0], [1, 3]]
    assert batch.mask.dtype == batch.attention_mask.dtype == torch.bool


@given(groups=GROUPS, side=st.sampled_from(["right", "left"]))
def test_every_token_is_found_again(
    groups: list[tuple[list[int], list[list[int]]]], side: str
) -> None:
    batch = collate([encoded(*group) for group in groups], pad_id=0, side=side)
    for index, (prompt, responses) in enumerate(groups):
        assert int(batch.mask[index].sum()) == len(responses)
        for slot, response in enumerate(responses):
            row = batch.rows[index, slot]
            assert batch.input_ids[row][batch.attention_mask[row]].tolist() == prompt + response
            assert batch.input_ids[row][batch.response_mask[row]].tolist() == response
            assert batch.lengths[index, slot] == len(response)
    column = -1 if side == "left" else 0
    assert bool(batch.attention_mask[:, column].all())
