"""Groups packed into one row: each prompt once, its responses behind it, no padding anywhere.

    row        | prompt 1 | response 1,1 | response 1,2 | prompt 2 | response 2,1 | …
    position     0 … P-1    P …            P …            0 …        P' …

A response's token attends to its own prompt and to its own response's earlier tokens, to nothing
else (see `attention.py`), so every number is the same as if the response stood alone behind its
prompt. The prompt is computed once for all K responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.models.tokens.encoding import EncodedGroup


class PackedGroups(NamedTuple):
    """B groups with at most K responses each, in one row of N tokens; S response tokens in all."""

    input_ids: Tensor
    """Token ids. Shape (1, N), int64."""
    position_ids: Tensor
    """Place of each token in its sequence; a response goes on from its prompt. Shape (1, N)."""
    edges: Tensor
    """Where each group's prompt starts and ends and each response ends; empty slots repeat the
    last edge. Always on the CPU. Shape (B, K + 2), int64."""
    scored: Tensor
    """Which place of the row predicts each response token. Shape (S,), int64."""
    targets: Tensor
    """The response tokens, EOS included. Shape (S,), int64."""
    slots: Tensor
    """Which response each of them belongs to: group · K + k. Shape (S,), int64."""
    last: Tensor
    """Place of each response's last token; 0 in empty slots. Shape (B, K), int64."""
    mask: Tensor
    """True where group b has a response k. Shape (B, K), bool."""
    lengths: Tensor
    """Response tokens, EOS included; 0 where there is no response. Shape (B, K), int64."""

    def to(self, device: torch.device | str) -> PackedGroups:
        """Return the same row on a device; the edges stay on the CPU, where they are read."""
        moved = {name: value.to(device) for name, value in self._asdict().items()}
        return PackedGroups(**{**moved, "edges": self.edges})

    @property
    def tokens(self) -> int:
        """Tokens of the row, all of them real."""
        return self.input_ids.shape[1]

    @property
    def computed(self) -> int:
        """Tokens that go through the model; there are no pads."""
        return self.tokens


def group_tokens(group: EncodedGroup, *, shared: bool = True) -> int:
    """Return how many tokens a group takes of a pass: its prompt once, or in padded rows."""
    if shared:
        return len(group.prompt_ids) + sum(map(len, group.responses_ids))
    longest = max(map(len, group.responses_ids), default=0)
    return len(group.responses_ids) * (len(group.prompt_ids) + longest)


def pack(groups: Sequence[EncodedGroup]) -> PackedGroups:
    """Put groups into one row, on the CPU.

    Args:
        groups: At least one response among them; none is empty.

    Raises:
        ValueError: There is no response, or one without a token.

    Example:
        >>> group = EncodedGroup([5, 6], [[7], [8, 9]], False, [False, False])
        >>> row = pack([group])
        >>> row.input_ids.tolist(), row.position_ids.tolist()
        ([[5, 6, 7, 8, 9]], [[0, 1, 2, 2, 3]])
        >>> row.scored.tolist(), row.targets.tolist()
        ([1, 1, 3], [7, 8, 9])
    """
    width = max((len(group.responses_ids) for group in groups), default=0)
    if not width:
        raise ValueError("a batch needs at least one response, got none")
    ids: list[int] = []
    positions: list[int] = []
    edges: list[list[int]] = []
    scored: list[int] = []
    targets: list[int] = []
    slots: list[int] = []
    for number, group in enumerate(groups):
        prompt = len(group.prompt_ids)
        row = [len(ids), len(ids) + prompt]
        ids += group.prompt_ids
        positions += range(prompt)
        for k, response in enumerate(group.responses_ids):
            if not response or not prompt:
                raise ValueError("every prompt and every response needs at least one token")
            start = len(ids)
            # The prompt's last token predicts the first token of every response.
            scored += [row[1] - 1, *range(start, start + len(response) - 1)]
            targets += response
            slots += [number * width + k] * len(response)
            ids += response
            positions += range(prompt, prompt + len(response))
            row.append(len(ids))
        edges.append(row + [len(ids)] * (width + 2 - len(row)))
    table = torch.tensor(edges)
    lengths = table.diff(dim=1)[:, 1:]
    mask = lengths > 0
    return PackedGroups(
        torch.tensor([ids]),
        torch.tensor([positions]),
        table,
        torch.tensor(scored),
        torch.tensor(targets),
        torch.tensor(slots),
        torch.where(mask, table[:, 2:] - 1, 0),
        mask,
        lengths,
    )


def split_group(group: EncodedGroup, budget: int) -> list[EncodedGroup]:
    """Cut a group into groups of at most `budget` tokens, each with the prompt, in order.

    Exact where the responses of a group do not meet in the computation: scoring, log-probabilities.

    Args:
        group: A prompt with K responses.
        budget: The most tokens of a part; a part has at least one response even so.
    """
    parts: list[EncodedGroup] = []
    first, held = 0, 0
    room = budget - len(group.prompt_ids)
    for k, response in enumerate([*group.responses_ids, None]):
        if response is None or (k > first and held + len(response) > room):
            parts.append(
                EncodedGroup(
                    group.prompt_ids,
                    group.responses_ids[first:k],
                    group.truncated_prompt,
                    group.truncated_responses[first:k],
                )
            )
            first, held = k, 0
        held += len(response or ())
    return parts


def fill_rows(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Put items into as few rows of at most `budget` tokens as first-fit decreasing needs.

    Args:
        sizes: Tokens of each item. One larger than the budget has a row of its own.
        budget: Tokens of a row.

    Returns:
        The items of each row, by index; longest rows first, so that what does not fit into memory
        shows at once.

    Example:
        >>> fill_rows([5, 3, 4, 2], budget=7)
        [[0, 3], [2, 1]]
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        row = next((n for n, room in enumerate(left) if room >= sizes[item]), None)
        if row is None:
            rows.append([])
            left.append(budget)
            row = len(rows) - 1
        rows[row].append(item)
        left[row] -= sizes[item]
    return rows
