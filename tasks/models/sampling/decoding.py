"""The decoding loop: similar prompts together, finished rows dropped, one uniform per token.

Tokens are drawn by inverting the distribution function at a uniform number that belongs to the
(prompt, sample, step), so a row's draws do not depend on which rows share its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tasks.data.groups import prompt_hash
from tasks.models.policy import frozen
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.randomness import uniforms
from tasks.models.sampling.decode_rows import continue_prompts, why_not_shared
from tasks.models.sampling.token_choice import closing_tokens, draw_tokens, end_ids
from tasks.settings.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tasks.data.groups import Message
    from tasks.models.sampling.config import SamplingConfig

_KEEP = 0.97  # rows are dropped once fewer than this share of a batch is alive: dropping copies


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
    ids: tuple[int, ...] | None
    """The tokens, EOS included; None where a stop string was cut off."""


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    config: SamplingConfig,
    stops: Sequence[str],
    stream: tuple[int | str, ...],
    progress: Callable[[int], None] | None = None,
) -> list[list[Drawn]]:
    """Draw S responses to each request, in their order.

    Args:
        model: A causal language model, or an encoder–decoder.
        tokenizer: Its own.
        requests: A shard's prompts, or some of them.
        config: How to draw.
        stops: Strings that end a response.
        stream: Names the shard's random numbers.
        progress: Called after each step with the tokens it drew.

    Raises:
        StageError: If logits are not finite; names the prompts.
    """
    # Of a shard's prompts there may be some: what is drawn for one is the same without the others.
    places = 1 + max((request.place for request in requests), default=-1)
    noise = uniforms(places * config.samples, config.max_new_tokens, *stream)
    noise = noise.view(places, config.samples, config.max_new_tokens)
    closing = closing_tokens(tokenizer, model, stops)
    tokens = ordinary_tokens(tokenizer)
    shared = not model.config.is_encoder_decoder and why_not_shared(model, tokens) is None
    results: dict[int, list[Drawn]] = {}
    with frozen(model):
        for batch in token_budget_batches(requests, config, shared=shared):
            rows = _Rows(model, tokenizer, batch, config, stops, closing, shared)
            drawn = rows.run(
                noise[[request.place for request in batch]].flatten(0, 1),
                progress or (lambda tokens: None),
            )
            for nth, request in enumerate(batch):
                first = nth * config.samples
                results[request.place] = drawn[first : first + config.samples]
    return [results[request.place] for request in requests]


def token_budget_batches(
    requests: Sequence[Request], config: SamplingConfig, *, shared: bool
) -> Iterator[list[Request]]:
    """Cut a shard into batches of similar prompts and nearly the same cost.

    Args:
        requests: A shard's prompts.
        config: `batch_tokens` bounds what a batch holds at most; one prompt may need more.
        shared: Whether the prompt is held once for its samples.

    Yields:
        Batches, longest prompts first, so that what does not fit into memory shows at once.
    """

    def held(request: Request) -> int:
        samples = config.samples
        prompt = len(request.ids) * (1 if shared else samples)
        return prompt + samples * config.max_new_tokens

    # Neighbours of one length waste no padding.
    order = sorted(requests, key=lambda request: (-len(request.ids), request.place))
    total = sum(map(held, order))
    count = max(1, -(-total // config.batch_tokens))
    batch: list[Request] = []
    tokens = 0
    for request in order:
        over = tokens + held(request) > config.batch_tokens
        if batch and (over or tokens * count >= total):
            yield batch
            batch, tokens = [], 0
        batch.append(request)
        tokens += held(request)
    if batch:
        yield batch


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
        shared: bool,
    ) -> None:
        self.model, self.tokenizer, self.batch = model, tokenizer, batch
        self.config, self.stops, self.closing, self.shared = config, stops, closing, shared
        self.ends = torch.tensor(end_ids(model, tokenizer, stops))
        # A stop string of n bytes lies within the last n tokens: a token has at least one byte.
        self.tail = max((len(stop.encode()) for stop in stops), default=0) + 1
        count = len(batch) * config.samples
        self.tokens = torch.zeros(count, config.max_new_tokens, dtype=torch.long)
        self.lengths = torch.zeros(count, dtype=torch.long)
        self.ended = torch.zeros(count, dtype=torch.bool)

    def run(self, noise: Tensor, progress: Callable[[int], None]) -> list[Drawn]:
        """Decode all rows; `noise` has a uniform per row and step. Shape (rows, steps)."""
        noise = noise.to(self.model.device)
        prompts = [request.ids for request in self.batch]
        # A policy may have no pad of its own: any id serves, the masks decide.
        pad = self.tokenizer.pad_token_id or 0
        alive = torch.arange(len(self.tokens))  # which row each row of the cache is
        with continue_prompts(
            self.model, prompts, self.config.samples, pad, shared=self.shared
        ) as (logits, rows):
            for step in range(self.config.max_new_tokens):
                self._check(logits, alive)
                drawn = draw_tokens(logits, noise[alive.to(noise.device), step], self.config)
                going = self._record(drawn.cpu(), alive, step)
                progress(len(alive))
                if step + 1 == self.config.max_new_tokens or not bool(going.any()):
                    break
                if going.float().mean() < _KEEP:
                    order = rows.keep(going)
                    alive, drawn = alive[order], drawn[order.to(drawn.device)]
                logits = rows.step(drawn)
        return self._responses()

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
        ids = [
            row[:length]
            for row, length in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        ]
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        found = []
        for text, drawn, ended in zip(texts, ids, self.ended.tolist(), strict=True):
            cut = min((text.find(stop) for stop in self.stops if stop in text), default=None)
            kept = tuple(drawn) if cut is None else None
            found.append(Drawn(text[:cut], len(drawn), ended, kept))
        return found

    def _check(self, logits: Tensor, alive: Tensor) -> None:
        # One pass over the logits; which row it is matters only if something is wrong.
        if bool(torch.isfinite(logits.sum(dim=-1)).all()):
            return
        bad = alive[(~torch.isfinite(logits).all(dim=-1)).cpu()] // self.config.samples
        names = sorted({prompt_hash(self.batch[int(place)].prompt) for place in bad})
        if names:
            raise StageError(
                f"the policy gives logits that are not finite for {len(names)} prompts "
                f"({', '.join(names[:5])}): its weights or its precision are broken"
            )
