"""Rows of numbers as padded tensors, and AVA's terms from them by the functions under test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.objectives.ava import AvaTerms, q_values, reward_weights
from tests.tasks.objectives.slow_ava import Row


class Heads(NamedTuple):
    """What a model's heads say about a batch of padded texts: shapes (B, T, …)."""

    logits: Tensor
    mean: Tensor
    log_std: Tensor
    hidden: Tensor


class Texts(NamedTuple):
    """The texts of that batch: tokens, and the two sets of positions. Each (B, T)."""

    tokens: Tensor
    actions: Tensor
    irl: Tensor


def padded(rows: Sequence[Row], *, width: int = 0, junk: float = 0.0) -> tuple[Heads, Texts]:
    """The rows, filled up with `junk` to the longest of them or to `width`."""
    width = max(width, *(len(row.tokens) for row in rows))
    vocabulary, depth = len(rows[0].logits[0]), len(rows[0].hidden[0])
    shapes = [(vocabulary,), (), (), (depth,)]
    heads = Heads(*(torch.full((len(rows), width, *s), junk, dtype=torch.float64) for s in shapes))
    texts = Texts(
        *(torch.zeros(len(rows), width, dtype=t) for t in (torch.long, torch.bool, torch.bool))
    )
    for i, row in enumerate(rows):
        size = len(row.tokens)
        parts = (row.logits, row.mean, row.log_std, row.hidden)
        for tensor, values in zip(heads, parts, strict=True):
            tensor[i, :size] = torch.tensor(values, dtype=torch.float64)
        texts.tokens[i, :size] = torch.tensor(row.tokens)
        texts.actions[i, row.actions.start : row.actions.stop] = True
        texts.irl[i, row.irl.start : row.irl.stop] = True
    return heads, texts


def weights_of(heads: Heads, texts: Texts, rwt: str | None) -> Tensor:
    """The weights by their scale, ones for None."""
    if rwt is None:
        return torch.ones_like(heads.mean)
    return reward_weights(heads.hidden, heads.hidden, texts.actions, scale=rwt)


def terms_of(
    heads: Heads, texts: Texts, *, rwt: str | None, alpha: float = 1.0, q_map: str = "logit"
) -> AvaTerms:
    """The terms of every row."""
    weights = weights_of(heads, texts, rwt)
    q_all = q_values(heads.logits, alpha=alpha, q_map=q_map)
    log_lik = q_all.gather(2, texts.tokens.roll(-1, dims=1).unsqueeze(2)).squeeze(2)
    q = weights * log_lik
    # A weight of 0 belongs to no action; 1 in its place keeps the logarithm finite.
    log_weights = weights.where(texts.actions, 1.0).log()
    return AvaTerms(
        q=q,
        q_next=q.roll(-1, dims=1),
        log_lik=log_lik,
        mean=weights * heads.mean,
        log_std=log_weights + heads.log_std,
        action_mask=texts.actions,
        irl_mask=texts.irl,
    )


def terms(rows: int = 1, width: int = 3, *, seed: int | None = None, **given: Tensor) -> AvaTerms:
    """Terms of full rows, zeros or drawn, the last position without a following action."""
    generator = torch.Generator().manual_seed(seed or 0)
    shape = (rows, width)
    parts = {
        name: torch.zeros(shape, dtype=torch.float64)
        if seed is None
        else torch.randn(shape, generator=generator, dtype=torch.float64)
        for name in AvaTerms._fields[:5]
    }
    irl = torch.ones(shape, dtype=torch.bool)
    irl[:, -1] = False
    masks = {"action_mask": torch.ones(shape, dtype=torch.bool), "irl_mask": irl}
    return AvaTerms(**{**parts, **masks, **given})
