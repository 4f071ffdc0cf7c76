"""Prompts before decoding: where the padding is, and how they are cut into pieces."""

from __future__ import annotations

import pytest
import torch

from tasks.models.sampling import prefill
from tasks.models.sampling.prefill import pad_left, pads_last, pieces


def test_padding_is_on_the_left() -> None:
    ids, mask = pad_left([[5], [1, 2, 0]], pad_id=0)
    assert ids.tolist() == [[0, 0, 5], [1, 2, 0]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]
    with pytest.raises(AssertionError):
        pad_left([[5], []], pad_id=0)


def test_padding_moves_behind_for_encoders() -> None:
    ids, mask = pads_last(*pad_left([[5, 6], [1, 2, 0, 3]], pad_id=9))
    assert ids.tolist() == [[5, 6, 9, 9], [1, 2, 0, 3]]
    assert torch.equal(mask, torch.tensor([[True, True, False, False], [True] * 4]))


def test_pieces_keep_the_order_and_bound_the_padded_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefill, "_PIECE_TOKENS", 10)
    prompts = [[1] * length for length in (12, 5, 5, 4, 2, 2, 2)]
    found = list(pieces(prompts))
    assert [[len(prompt) for prompt in piece] for piece in found] == [[12], [5, 5], [4, 2], [2, 2]]
