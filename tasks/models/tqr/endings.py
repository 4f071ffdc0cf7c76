"""Responses as a TQR reads them: every one with an end, and long enough to learn rewards from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import ConfigError, RecordError


def has_ended(group: EncodedGroup, end: int) -> list[bool]:
    """Return which responses end with EOS, whose id is `end`: those that were not cut."""
    return [bool(ids) and ids[-1] == end for ids in group.responses_ids]


def ended_slots(groups: Sequence[EncodedGroup], end: int) -> Tensor:
    """Return `has_ended` of groups side by side, False in empty slots. Bool, shape (B, K)."""
    return pad_sequence([torch.tensor(has_ended(group, end)) for group in groups], batch_first=True)


def closed(group: EncodedGroup, end: int, longest: int) -> EncodedGroup:
    """Append EOS to the responses of a group that were cut, so that their score saw all of them.

    Args:
        group: As `encode_group` gives it.
        end: EOS of its tokenizer.
        longest: The most tokens of a response; one that is as long loses its last for EOS.

    Raises:
        ConfigError: There is no room for a token and its end.
    """
    if longest < 2:
        raise ConfigError(
            f"a response of at most {longest} tokens has no room for a token and its end: raise "
            "max_response_tokens to 2 at least"
        )
    flags = has_ended(group, end)
    responses = [
        ids if flag else [*ids[: longest - 1], end]
        for ids, flag in zip(group.responses_ids, flags, strict=True)
    ]
    return replace(group, responses_ids=responses)


def require_irl(group: EncodedGroup, name: str, end: int) -> None:
    """Refuse what has no temporal-difference error, of which AVA's rewards are learnt.

    A response needs two actions for one: a token and its end, or two tokens where it was cut.

    Args:
        group: Before `closed`.
        name: Of the group, for the message.
        end: EOS of its tokenizer.

    Raises:
        RecordError: The prompt has no token, or a response fewer than two.
    """
    if not group.prompt_ids:
        raise RecordError(
            f"the prompt of the group {name} has no token, so nothing stands before the first "
            "action: put a BOS there"
        )
    for place, ids in enumerate(group.responses_ids):
        if len(ids) < 2:
            what = "is empty" if ids in ([], [end]) else "was cut after one token"
            raise RecordError(
                f"response {place} of the group {name} {what}, so its prompt leaves no place with "
                "two actions to learn a reward from: leave it out, or raise max_response_tokens"
            )
