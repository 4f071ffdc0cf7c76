"""Groups for models with an encoder: the prompt is its input, computed once for all responses.

    encoder   prompt EOS                         one row per group
    decoder   start [BOS] response without EOS   one row per response
    scored          response EOS

Every such model reads a source that ends with EOS, so one is put behind the prompt unless it is
there. The decoder begins as the model's own `generate` begins: with `decoder_start_token_id`, and
with `forced_bos_token_id` where its generation_config.json has one (BART); neither is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TwoSidedBatch(NamedTuple):
    """E prompts of at most P tokens, R responses of at most T tokens; B groups, K slots."""

    input_ids: Tensor
    """The encoder's input, padded on the right. Shape (E, P), int64."""
    attention_mask: Tensor
    """True where it has a token. Shape (E, P), bool."""
    decoder_input_ids: Tensor
    """The decoder's input, padded on the right. Shape (R, T), int64."""
    owners: Tensor
    """Which prompt each response answers. Shape (R,), int64."""
    scored: Tensor
    """Which place of the decoder's input, flattened, predicts each response token. Shape (S,)."""
    targets: Tensor
    """The response tokens, EOS included. Shape (S,), int64."""
    slots: Tensor
    """Which response each of them belongs to: group · K + k. Shape (S,), int64."""
    mask: Tensor
    """True where group b has a response k. Shape (B, K), bool."""
    lengths: Tensor
    """Response tokens, EOS included; 0 where there is no response. Shape (B, K), int64."""

    def to(self, device: torch.device | str) -> TwoSidedBatch:
        """Return the same batch on a device."""
        return TwoSidedBatch(*(tensor.to(device) for tensor in self))

    @property
    def computed(self) -> int:
        """Tokens that go through the model, pads included."""
        return self.input_ids.numel() + self.decoder_input_ids.numel()


def arrange(groups: Sequence[EncodedGroup], model: PreTrainedModel, pad_id: int) -> TwoSidedBatch:
    """Put groups into the layout of a model with an encoder, on the CPU.

    Args:
        groups: At least one response among them; none is empty.
        model: Whose configuration says what decoders start with and sources end with.
        pad_id: Written where a row has no token.

    Raises:
        ConfigError: The model names no token that its decoder starts with.
    """
    start = _decoder_start(model)
    width = max((len(group.responses_ids) for group in groups), default=0)
    if not width:
        raise ValueError("a batch needs at least one response, got none")
    prompts: list[list[int]] = []
    replies: list[list[int]] = []
    owners: list[int] = []
    slots: list[int] = []
    scored: list[int] = []
    targets: list[int] = []
    longest = max(len(ids) for group in groups for ids in group.responses_ids) + len(start) - 1
    lengths = torch.zeros(len(groups), width, dtype=torch.long)
    for number, group in enumerate(groups):
        if not group.responses_ids:
            continue
        prompts.append(_source(group.prompt_ids, model.config.eos_token_id))
        for k, response in enumerate(group.responses_ids):
            first = len(replies) * longest + len(start) - 1
            scored += range(first, first + len(response))
            targets += response
            slots += [number * width + k] * len(response)
            replies.append(start + response[:-1])
            owners.append(len(prompts) - 1)
            lengths[number, k] = len(response)
    encoder_ids, encoder_mask = _rectangle(prompts, pad_id)
    return TwoSidedBatch(
        encoder_ids,
        encoder_mask,
        _rectangle(replies, pad_id)[0],
        torch.tensor(owners),
        torch.tensor(scored),
        torch.tensor(targets),
        torch.tensor(slots),
        lengths > 0,
        lengths,
    )


def scored_states(model: PreTrainedModel, batch: TwoSidedBatch, way: str | None) -> Tensor:
    """Return the last hidden state that predicts each response token, as the decoder gives it.

    Args:
        model: With an encoder and a decoder.
        batch: From `arrange`, on the model's device.
        way: `grouped` leaves the choice of a response's prompt to the attention of `attention.py`,
            which projects each prompt's states once; another way repeats the states, and None is
            the plain path, which repeats the prompts.

    Returns:
        Last hidden states. Shape (S, H).
    """
    ids, mask = batch.input_ids, batch.attention_mask.long()
    if way is None:
        ids, mask = ids[batch.owners], mask[batch.owners]
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    arguments: dict[str, Any] = {}
    if way == "grouped":
        arguments["owners"] = batch.owners
    elif way is not None:
        states, mask = states[batch.owners], mask[batch.owners]
    # Pads stand behind a response's tokens, which the causal mask keeps from seeing them.
    output = model.get_decoder()(
        input_ids=batch.decoder_input_ids,
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        use_cache=False,
        **arguments,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden.flatten(0, 1)[batch.scored]


def plain_logps(model: PreTrainedModel, batch: TwoSidedBatch, temperature: float) -> Tensor:
    """Log-probability of each response token by a whole pass per response. Nats, shape (S,)."""
    output = model(
        input_ids=batch.input_ids[batch.owners],
        attention_mask=batch.attention_mask[batch.owners].long(),
        decoder_input_ids=batch.decoder_input_ids,
        use_cache=False,
    )
    logits = output.logits.flatten(0, 1)[batch.scored]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    return logits.log_softmax(dim=-1).gather(-1, batch.targets[:, None])[:, 0]


def _decoder_start(model: PreTrainedModel) -> list[int]:
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        raise ConfigError(
            f"the {model.config.model_type} model's config.json has no decoder_start_token_id, so "
            "nothing predicts the first response token: add the one it was trained with"
        )
    forced = getattr(model.generation_config, "forced_bos_token_id", None)
    return [start] if forced is None else [start, forced]


def _source(prompt: list[int], eos: int | list[int] | None) -> list[int]:
    eos = eos[0] if isinstance(eos, list) else eos
    return prompt if eos is None or prompt[-1] == eos else [*prompt, eos]


def _rectangle(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    return ids, mask
