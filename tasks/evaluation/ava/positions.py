"""What a TQR says of responses position by position, and which words the positions stand for.

Position t of a response has seen everything before its token t, which it chooses; the last one
chooses its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tasks.data.selection import keep_responses

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.data.groups import Group
    from tasks.models.scoring.tqr_scorer import TqrScorer
    from tasks.models.tqr.group_tqr import TqrOutput


class Positions(NamedTuple):
    """Numbers of the positions of one response, or of many in a row. All of shape (N,)."""

    q: Tensor
    """Weighted Q of the token that is chosen."""
    q_next: Tensor
    """That of the one after it."""
    log_lik: Tensor
    """Log-likelihood of the token that is chosen, nats."""
    td_mean: Tensor
    """Mean of the reward that explains the temporal-difference error."""
    td_log_std: Tensor
    """Log of its standard deviation."""
    mean: Tensor
    """Weighted mean of the reward at the position, reward units."""
    log_std: Tensor
    """Log of its weighted standard deviation."""
    irl: Tensor
    """Bool: where there is a temporal-difference error."""


def read_positions(scorer: TqrScorer, groups: Sequence[Group]) -> list[list[Positions]]:
    """Return the positions of every response, its end included, for each group in order."""
    rows = scorer.read(groups, _columns)
    return [[_positions(found) for found in row] for row in rows]


def joined(responses: Sequence[Positions]) -> Positions:
    """Return the positions of many responses in a row."""
    return Positions(*(torch.cat(parts) for parts in zip(*responses, strict=True)))


def _columns(output: TqrOutput) -> Tensor:
    terms, rewards = output.terms, output.rewards
    parts = (
        *(terms.q, terms.q_next, terms.log_lik, terms.mean, terms.log_std),
        *(rewards.mean, rewards.log_std, terms.irl_mask, output.mask),
    )
    return torch.stack([part.float() for part in parts], dim=-1).flatten(-2)


def _positions(found: Sequence[float]) -> Positions:
    table = torch.tensor(found, dtype=torch.float64).view(-1, len(Positions._fields) + 1)
    *parts, irl, real = table.unbind(dim=-1)
    kept = real > 0
    return Positions._make([*(part[kept] for part in parts), irl[kept] > 0])


def token_texts(scorer: TqrScorer, group: Group, place: int) -> list[str]:
    """Return the text of each token of a response, its end aside; together they are its text.

    A token that is only a part of a character is empty, and the last part has all of it.
    """
    ids = scorer.encode(keep_responses(group, [place])).responses_ids[0][:-1]
    texts, before = [], ""
    for end in range(1, len(ids) + 1):
        whole = _decoded(scorer.tokenizer, ids[:end])
        if whole.endswith("\ufffd") and end < len(ids):
            texts.append("")
            continue
        texts.append(whole[len(before) :])
        before = whole
    return texts


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert isinstance(text, str), "one text was decoded"
    return text
