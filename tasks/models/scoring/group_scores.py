"""Rewards and log-probabilities of whole data sets, each prompt computed once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.data.selection import keep_responses
from tasks.models.groups.group_model import GroupModel, GroupPolicy, GroupReward
from tasks.models.groups.packing import fill_rows, group_tokens, split_group
from tasks.models.memory import kept_memory
from tasks.models.policy import frozen
from tasks.models.precision import arithmetic_of
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.settings.errors import StageError
from tasks.settings.log import Log, NullLog

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
    *,
    precision: str = "fp32",
    log: Log | None = None,
    cut: Counter[str] | None = None,
) -> list[list[float]]:
    """Reward of every response; the reward model renders and tokenises the text itself.

    A response has the same reward whatever stands beside it: where `limits.max_tokens` cuts a
    prompt, each response reads as much of it as it leaves room for itself.

    Args:
        model: A reward model.
        tokenizer: The reward model's own.
        template: The reward model's chat template; None is the one its tokenizer has.
        groups: Read once, as a stream.
        limits: The longest prompt and response.
        batch_tokens: The most tokens of a forward pass; a larger group is split, exactly.
        precision: fp32 (what the weights have), bf16 or auto.
        log: Is told where prompts cannot be shared.
        cut: Counts `responses`, and the `prompts` and `endings` that were not read whole.

    Returns:
        For each group in order, one reward per response.

    Raises:
        StageError: A reward is not a finite number; names the group.
    """

    def encode_whole(group: Group) -> EncodedGroup:
        return encode_group(tokenizer, template, group, limits)

    encode = each_as_alone(encode_whole, limits, Counter() if cut is None else cut)
    pad_id = tokenizer.pad_token_id
    reward = GroupReward(model)
    tokens = ordinary_tokens(tokenizer)
    log = log or NullLog()
    return map_groups(reward, encode, groups, pad_id, tokens, batch_tokens, precision, log)


def each_as_alone(
    encode: Callable[[Group], EncodedGroup], limits: Limits, cut: Counter[str]
) -> Callable[[Group], list[EncodedGroup]]:
    """Return what encodes a group so that each response reads what it would read alone.

    Args:
        encode: Encodes a group as a whole; its prompt makes room for the longest response.
        limits: Which it keeps.
        cut: Counts `responses`, and the `prompts` and `endings` that were not read whole.
    """

    def encode_all(group: Group) -> list[EncodedGroup]:
        found, size = [encode(group)], len(group.responses)
        if limits.max_tokens and found[0].truncated_prompt and size > 1:
            found = [encode(keep_responses(group, [place])) for place in range(size)]
        cut["responses"] += size
        cut["prompts"] += any(one.truncated_prompt for one in found)
        cut["endings"] += sum(sum(one.truncated_responses) for one in found)
        return found

    return encode_all


def note_what_was_cut(cut: Counter[str], limits: Limits, log: Log) -> None:
    """Say how many responses and prompts a model did not read whole, if any."""
    told = []
    if cut["endings"]:
        told.append(
            f"of {cut['responses']} responses, {cut['endings']} are longer than the "
            f"{limits.longest_response} tokens that the scorer reads, and are scored without "
            "their end"
        )
    if cut["prompts"]:
        told.append(f"{cut['prompts']} prompts lost their beginning")
    if told:
        log.note("; ".join(told))


def logps_groups(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    groups: Iterable[Group],
    limits: Limits,
    batch_tokens: int = 8_192,
    *,
    temperature: float = 1.0,
    precision: str = "fp32",
    as_sampled: bool = False,
) -> list[list[float]]:
    """Log-probability of every response under the tempered policy, dropout off.

    Takes what `score_groups` takes; the logits are divided by `temperature`, and `as_sampled` reads
    samples of this tokenizer's model as the tokens they were drawn as.

    Returns:
        For each group in order, nats per response, summed over its tokens and EOS.

    Raises:
        StageError: One is not a finite number; names the group.
    """

    def encode(group: Group) -> list[EncodedGroup]:
        return [encode_group(tokenizer, template, group, limits, as_sampled=as_sampled)]

    policy = GroupPolicy(model, temperature=temperature)
    # A policy may have no pad of its own: any id serves, the masks decide.
    pad_id = tokenizer.pad_token_id or 0
    tokens = ordinary_tokens(tokenizer)
    return map_groups(policy, encode, groups, pad_id, tokens, batch_tokens, precision, NullLog())


def response_values(
    model: GroupModel,
    groups: Sequence[EncodedGroup],
    pad_id: int,
    batch_tokens: int,
    read: Callable[[Any], Tensor] | None = None,
) -> list[list[Any]]:
    """Return what a model gives each response: log-probabilities, nats, or rewards.

    The responses of a group do not meet in this computation, so a group beyond the budget is
    exactly the same in several rows, with its prompt in each.

    Args:
        model: A policy or a reward model, in eval mode.
        groups: B groups; one may have no response, but no response is empty.
        pad_id: Written where a padded row has no token.
        batch_tokens: The most tokens of a forward pass; a single response may take more.
        read: Makes (B, K) or (B, K, C) of a batch on the model's device; None: the model does.

    Returns:
        For each group in order, one number per response, or a list of C.
    """
    device = next(model.parameters()).device
    owners, pieces = [], []
    for owner, group in enumerate(groups):
        for piece in split_group(group, batch_tokens) if group.responses_ids else ():
            owners.append(owner)
            pieces.append(piece)
    found: list[list[Any]] = [[] for _ in pieces]
    sizes = [group_tokens(piece, shared=model.shared) for piece in pieces]
    with torch.inference_mode():
        for row in fill_rows(sizes, batch_tokens):
            batch = model.batch([pieces[item] for item in row], pad_id).to(device)
            values_of = (read or model)(batch).tolist()
            for item, values in zip(row, values_of, strict=True):
                found[item] = values[: len(pieces[item].responses_ids)]
    results: list[list[Any]] = [[] for _ in groups]
    for owner, values in zip(owners, found, strict=True):
        results[owner] += values
    return results


def map_groups(
    model: GroupModel,
    encode: Callable[[Group], list[EncodedGroup]],
    groups: Iterable[Group],
    pad_id: int,
    tokens: Sequence[int],
    batch_tokens: int,
    precision: str,
    log: Log,
    read: Callable[[Any], Tensor] | None = None,
) -> list[list[Any]]:
    """Return what a model gives each response of a stream of groups; see `response_values`.

    Args:
        model: Checked here, and on its plain path afterwards.
        encode: A group as one that the model reads, or as several that make it up.
        groups: Read once.
        pad_id: Written where a padded row has no token.
        tokens: Of ordinary text, for the check.
        batch_tokens: The most tokens of a forward pass.
        precision: fp32, bf16 or auto.
        log: Is told where prompts cannot be shared.
        read: As `response_values` takes it.

    Raises:
        StageError: A number is not finite; names the group.
    """
    stream = iter(groups)
    results: list[list[Any]] = []
    own = model.model
    with frozen(own), kept_memory(), arithmetic_of(precision, own.device.type):
        try:
            model.check(tokens)
            if model.reason:
                log.note(f"{model.reason}; each is computed with every response, which is slower")
            while window := list(islice(stream, _WINDOW)):
                encoded = [encode(group) for group in window]
                pieces = [piece for row in encoded for piece in row]
                values = iter(response_values(model, pieces, pad_id, batch_tokens, read))
                found = [[value for _ in row for value in next(values)] for row in encoded]
                refuse_broken(own, window, found)
                results += found
        finally:
            # The model gets back the attention it came with.
            model.take_plain_path("it is not called any more")
    return results


def refuse_broken(model: PreTrainedModel, groups: list[Group], values: list[list[Any]]) -> None:
    """Raise StageError where a response's value is no finite number; it names the group."""
    for group, row in zip(groups, values, strict=True):
        for k, value in enumerate(row):
            if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
                raise StageError(
                    f"{type(model).__name__} gives response {k} of the group {group.title} the "
                    f"value {value}: a finite number is needed; check the model's weights, or "
                    "compute in precision: fp32"
                )
