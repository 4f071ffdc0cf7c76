"""Who sees whom in a row, by hand."""

from __future__ import annotations

import torch

from tasks.models.groups.attention_masks import block_mask, dense_mask
from tasks.models.groups.packing import pack
from tasks.models.tokens.encoding import EncodedGroup

# Prompt a a, responses b | c c; a second group of one response and an empty slot.
ROW = pack(
    [
        EncodedGroup([5, 6], [[7], [8, 9]], False, [False] * 2),
        EncodedGroup([4], [[3]], False, [False]),
    ]
)
SEEN = [
    "x......",
    "xx.....",
    "xxx....",
    "xx.x...",
    "xx.xx..",
    ".....x.",
    ".....xx",
]


def test_a_token_sees_its_prompt_and_its_own_response() -> None:
    mask = dense_mask(ROW, torch.float32)
    assert mask.shape == (1, 1, 7, 7)
    allowed = [[cell == "x" for cell in line] for line in SEEN]
    assert (mask[0, 0] == 0).tolist() == allowed
    assert bool((mask[0, 0][~torch.tensor(allowed)] == torch.finfo(torch.float32).min).all())
    assert dense_mask(ROW, torch.bfloat16).dtype == torch.bfloat16


def test_a_block_mask_says_the_same() -> None:
    blocks = block_mask(ROW)
    zero = torch.zeros((), dtype=torch.long)
    for query, line in enumerate(SEEN):
        for key, cell in enumerate(line):
            said = blocks.mask_mod(zero, zero, torch.tensor(query), torch.tensor(key))
            assert bool(said) == (cell == "x")
