"""Encoded groups as rectangular tensors; every mask comes from lengths, never from ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tasks.models.tokens.encoding import EncodedGroup


class GroupBatch(NamedTuple):
    """B groups whose responses are R rows of T tokens; K is the largest group's size."""

    input_ids: Tensor
    """Prompt and response ids of each row. Shape (R, T), int64."""
    attention_mask: Tensor
    """True where a row has a token. Shape (R, T), bool."""
    response_mask: Tensor
    """True at the response's tokens, EOS included. Shape (R, T), bool."""
    rows: Tensor
    """Which row holds response k of group b; -1 where there is none. Shape (B, K), int64."""
    mask: Tensor
    """True where group b has a response k. Shape (B, K), bool."""
    lengths: Tensor
    """Response tokens, EOS included; 0 where there is no response. Shape (B, K), int64."""

    def to(self, device: torch.device | str) -> GroupBatch:
        """The same batch on a device."""
        return GroupBatch(*(tensor.to(device) for tensor in self))

    @property
    def computed(self) -> int:
        """Tokens that go through the model, pads included."""
        return self.input_ids.numel()


def collate(
    groups: Sequence[EncodedGroup], pad_id: int, *, side: Literal["right", "left"] = "right"
) -> GroupBatch:
    """Pad groups to one rectangle, on the CPU.

    Args:
        groups: At least one response among them.
        pad_id: The id written where a row has no token; it decides nothing.
        side: Where the padding goes. Everything here computes the same on either side.
    """
    flat = [(group.prompt_ids, response) for group in groups for response in group.responses_ids]
    if not flat:
        raise ValueError("a batch needs at least one response, got none")
    width = max(len(prompt) + len(response) for prompt, response in flat)
    input_ids = torch.full((len(flat), width), pad_id, dtype=torch.long)
    attention_mask = torch.zeros(len(flat), width, dtype=torch.bool)
    response_mask = torch.zeros(len(flat), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(flat):
        total = len(prompt) + len(response)
        start = 0 if side == "right" else width - total
        input_ids[row, start : start + total] = torch.tensor(prompt + response)
        attention_mask[row, start : start + total] = True
        response_mask[row, start + len(prompt) : start + total] = True
    rows, lengths = _slots(groups)
    return GroupBatch(input_ids, attention_mask, response_mask, rows, rows >= 0, lengths)


def _slots(groups: Sequence[EncodedGroup]) -> tuple[Tensor, Tensor]:
    widest = max(len(group.responses_ids) for group in groups)
    rows = torch.full((len(groups), widest), -1, dtype=torch.long)
    lengths = torch.zeros(len(groups), widest, dtype=torch.long)
    row = 0
    for index, group in enumerate(groups):
        for slot, response in enumerate(group.responses_ids):
            rows[index, slot] = row
            lengths[index, slot] = len(response)
            row += 1
    return rows, lengths
