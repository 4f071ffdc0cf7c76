"""One number per response for many groups, without gradients, in rows filled to a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tasks.models.groups.packing import fill_rows, group_tokens, split_group

if TYPE_CHECKING:
    from tasks.models.groups.group_model import GroupModel
    from tasks.models.tokens.encoding import EncodedGroup


def response_values(
    model: GroupModel, groups: Sequence[EncodedGroup], pad_id: int, batch_tokens: int
) -> list[list[float]]:
    """Return what a model gives each response: log-probabilities, nats, or rewards.

    The responses of a group do not meet in this computation, so a group beyond the budget is
    exactly the same in several rows, with its prompt in each.

    Args:
        model: a policy or a reward model, in eval mode.
        groups: B groups; one may have no response, but no response is empty.
        pad_id: written where a padded row has no token.
        batch_tokens: the most tokens of a forward pass; a single response may take more.

    Returns:
        For each group in order, one number per response.
    """
    device = next(model.parameters()).device
    owners, pieces = [], []
    for owner, group in enumerate(groups):
        for piece in split_group(group, batch_tokens) if group.responses_ids else ():
            owners.append(owner)
            pieces.append(piece)
    found: list[list[float]] = [[] for _ in pieces]
    sizes = [row_tokens(piece, shared=model.shared) for piece in pieces]
    with torch.inference_mode():
        for row in fill_rows(sizes, batch_tokens):
            batch = model.batch([pieces[item] for item in row], pad_id).to(device)
            for item, values in zip(row, model(batch).tolist(), strict=True):
                found[item] = values[: len(pieces[item].responses_ids)]
    results: list[list[float]] = [[] for _ in groups]
    for owner, values in zip(owners, found, strict=True):
        results[owner] += values
    return results


def row_tokens(group: EncodedGroup, *, shared: bool) -> int:
    """Return how many tokens a group takes of a forward pass.

    Args:
        group: a prompt with K responses.
        shared: whether the prompt is computed once, or the responses are padded rows of their own.
    """
    if shared:
        return group_tokens(group)
    longest = max(map(len, group.responses_ids), default=0)
    return len(group.responses_ids) * (len(group.prompt_ids) + longest)
