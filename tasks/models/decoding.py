"""The decoding loop: each prompt prefilled once, finished rows dropped, one uniform per token.

Tokens are drawn by inverting the distribution function at a uniform number that belongs to the
(prompt, sample, step), so a row's draws do not depend on which rows share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tasks.data.groups import prompt_hash
from tasks.models.drawing import closing_tokens, draw_tokens, end_ids
from tasks.models.policy import frozen, position_ids
from tasks.models.randomness import uniforms
from tasks.settings.errors import StageError

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

    from tasks.data.groups import Message
    from tasks.models.generation import SamplingConfig

_KEEP = 0.9  # rows are dropped once fewer than this share of a batch is alive: dropping copies


class Request(NamedTuple):
    """A prompt to be answered."""

    place: int
    """Where it stands in the shard."""
    ids: list[int]
    """Its token ids."""
    prompt: tuple[Message, ...]
    """Its text, for messages."""


class Drawn(NamedTuple):
    """One response as it was drawn."""

    text: str
    """Without special tokens and stop strings."""
    tokens: int
    """Tokens drawn, EOS or stop string included."""
    ended: bool
    """Whether EOS or a stop string ended it."""


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    config: SamplingConfig,
    stops: Sequence[str],
    stream: tuple[int | str, ...],
) -> list[list[Drawn]]:
    """Draw S responses to each request.

    Args:
        model: a causal language model.
        tokenizer: its own.
        requests: a shard's prompts.
        config: how to draw.
        stops: strings that end a response.
        stream: names the shard's random numbers.

    Returns:
        For each request in order, S responses.

    Raises:
        StageError: if logits are not finite; names the prompts.
    """
    noise = uniforms(len(requests) * config.samples, config.max_new_tokens, *stream)
    noise = noise.view(len(requests), config.samples, config.max_new_tokens)
    # Neighbours of one length waste no padding.
    closing = closing_tokens(tokenizer, model, stops)
    order = sorted(requests, key=lambda request: (-len(request.ids), request.place))
    size = max(1, config.batch_size // config.samples)
    results: list[list[Drawn]] = [[] for _ in requests]
    with frozen(model):
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            rows = _Rows(model, tokenizer, batch, config, stops, closing)
            drawn = rows.run(noise[[request.place for request in batch]].flatten(0, 1))
            for nth, request in enumerate(batch):
                first = nth * config.samples
                results[request.place] = drawn[first : first + config.samples]
    return results


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts as a rectangle that ends where each prompt ends, so that decoding goes on there.

    Args:
        prompts: token ids, none empty.
        pad_id: written where there is no token; it decides nothing.

    Returns:
        Ids, int64, and mask, bool. Shapes (N, T).
    """
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[row, width - len(prompt) :] = True
    assert bool(mask[:, -1].all()), "a row that ends in padding would decode garbage"
    return ids, mask


class _Rows:
    """The rows of one batch while they are decoded; finished ones leave."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch: Sequence[Request],
        config: SamplingConfig,
        stops: Sequence[str],
        closing: Tensor,
    ) -> None:
        self.model, self.tokenizer, self.batch = model, tokenizer, batch
        self.config, self.stops, self.closing = config, stops, closing
        self.ends = torch.tensor(end_ids(model, tokenizer, stops))
        # A stop string of n bytes lies within the last n tokens: a token has at least one byte.
        self.tail = max((len(stop.encode()) for stop in stops), default=0) + 1
        count = len(batch) * config.samples
        self.tokens = torch.zeros(count, config.max_new_tokens, dtype=torch.long)
        self.lengths = torch.zeros(count, dtype=torch.long)
        self.ended = torch.zeros(count, dtype=torch.bool)

    def run(self, noise: Tensor) -> list[Drawn]:
        """Decode all rows; `noise` has a uniform per row and step. Shape (rows, steps)."""
        noise = noise.to(self.model.device)
        logits, cache, mask, places = self._prefill()
        alive = torch.arange(len(self.tokens))  # which row each row of the cache is
        for step in range(self.config.max_new_tokens):
            self._check(logits, alive)
            drawn = draw_tokens(logits, noise[alive.to(noise.device), step], self.config)
            going = self._record(drawn.cpu(), alive, step)
            if step + 1 == self.config.max_new_tokens or not bool(going.any()):
                break
            if going.float().mean() < _KEEP:
                kept = going.nonzero()[:, 0]
                alive, kept = alive[kept], kept.to(mask.device)
                cache.batch_select_indices(kept)
                drawn, mask, places = drawn[kept], mask[kept], places[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            places = places + 1
            logits = self.model(
                input_ids=drawn[:, None],
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
        return self._responses()

    def _prefill(self) -> tuple[Tensor, DynamicCache, Tensor, Tensor]:
        from transformers import DynamicCache

        pad = self.tokenizer.pad_token_id
        ids, mask = pad_left([request.ids for request in self.batch], pad or 0)
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        places = position_ids(mask)
        cache = DynamicCache(config=self.model.config)
        output = self.model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        samples = self.config.samples
        cache.batch_repeat_interleave(samples)
        logits, mask, last = (
            part.repeat_interleave(samples, dim=0)
            for part in (output.logits[:, -1], mask.long(), places[:, -1:])
        )
        return logits, cache, mask, last

    def _record(self, drawn: Tensor, alive: Tensor, step: int) -> Tensor:
        """Note the tokens drawn; returns which rows of the cache go on. Shape (rows,), bool."""
        going = ~self.ended[alive]
        rows = alive[going]
        self.tokens[rows, step] = drawn[going]
        self.lengths[rows] = step + 1
        self.ended[rows] = torch.isin(drawn[going], self.ends)
        if self.stops:
            open_rows = rows[~self.ended[rows] & self.closing[drawn[going]]]
            tails = self.tokens[open_rows, max(0, step + 1 - self.tail) : step + 1]
            texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True)
            found = [any(stop in text for stop in self.stops) for text in texts]
            self.ended[open_rows] = torch.tensor(found, dtype=torch.bool)
        return ~self.ended[alive]

    def _responses(self) -> list[Drawn]:
        texts = self.tokenizer.batch_decode(
            [row[:length] for row, length in zip(self.tokens, self.lengths, strict=True)],
            skip_special_tokens=True,
        )
        return [
            Drawn(self._before_stop(text), int(length), bool(ended))
            for text, length, ended in zip(texts, self.lengths, self.ended, strict=True)
        ]

    def _before_stop(self, text: str) -> str:
        return text[: min((text.find(stop) for stop in self.stops if stop in text), default=None)]

    def _check(self, logits: Tensor, alive: Tensor) -> None:
        if bool(torch.isfinite(logits).all()):
            return
        bad = alive[(~torch.isfinite(logits).all(dim=-1)).cpu()] // self.config.samples
        names = sorted({prompt_hash(self.batch[int(place)].prompt) for place in bad})
        raise StageError(
            f"the policy gives logits that are not finite for {len(names)} prompts "
            f"({', '.join(names[:5])}): its weights or its precision are broken"
        )
