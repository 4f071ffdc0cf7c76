"""Rewards and log-probabilities of whole data sets, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from torch import Tensor

from tasks.models.batching import GroupBatch, collate, token_batches
from tasks.models.encoding import EncodedGroup, Limits, encode_group
from tasks.models.policy import frozen, sequence_logps
from tasks.models.reward_model import rewards

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tasks.data.groups import Group

_WINDOW = 4096  # groups encoded at a time: bounds memory, long enough to sort by length


def score_groups(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    groups: Iterable[Group],
    limits: Limits,
    batch_tokens: int = 8_192,
) -> list[list[float]]:
    """Reward of every response; the reward model renders and tokenises the text itself.

    Args:
        model: a reward model.
        tokenizer: the reward model's own.
        template: the reward model's chat template; None is the one its tokenizer has.
        groups: read once, as a stream.
        limits: the longest prompt and response.
        batch_tokens: the most padded tokens of a forward pass.

    Returns:
        For each group in order, one reward per response.
    """
    return _map_groups(rewards, model, tokenizer, template, groups, limits, batch_tokens)


def logps_groups(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    groups: Iterable[Group],
    limits: Limits,
    batch_tokens: int = 8_192,
    *,
    temperature: float = 1.0,
) -> list[list[float]]:
    """Log-probability of every response under the tempered policy, dropout off.

    Args:
        model: a policy.
        tokenizer: the policy's own.
        template: the policy's chat template; None is the one its tokenizer has.
        groups: read once, as a stream.
        limits: the longest prompt and response.
        batch_tokens: the most padded tokens of a forward pass.
        temperature: the logits are divided by it.

    Returns:
        For each group in order, nats per response, summed over its tokens and EOS.
    """

    def logps(model: PreTrainedModel, batch: GroupBatch) -> Tensor:
        return sequence_logps(model, batch, temperature)

    return _map_groups(logps, model, tokenizer, template, groups, limits, batch_tokens)


def _map_groups(
    value: Callable[[PreTrainedModel, GroupBatch], Tensor],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    groups: Iterable[Group],
    limits: Limits,
    batch_tokens: int,
) -> list[list[float]]:
    stream = iter(groups)
    results: list[list[float]] = []
    with frozen(model):
        while window := list(islice(stream, _WINDOW)):
            encoded = [encode_group(tokenizer, template, group, limits) for group in window]
            results.extend(_map_window(value, model, encoded, tokenizer.pad_token_id, batch_tokens))
    return results


def _map_window(
    value: Callable[[PreTrainedModel, GroupBatch], Tensor],
    model: PreTrainedModel,
    encoded: list[EncodedGroup],
    pad_id: int | None,
    batch_tokens: int,
) -> list[list[float]]:
    rows = [len(group.responses_ids) for group in encoded]
    lengths = [
        len(group.prompt_ids) + max(map(len, group.responses_ids), default=0) for group in encoded
    ]
    results: list[list[float]] = [[] for _ in encoded]
    for batch in token_batches(lengths, rows, batch_tokens):
        # A policy may have no pad of its own: any id serves, the masks decide.
        tensors = collate([encoded[i] for i in batch], pad_id or 0).to(model.device)
        for index, row in zip(batch, value(model, tensors).tolist(), strict=True):
            results[index] = row[: rows[index]]
    return results
