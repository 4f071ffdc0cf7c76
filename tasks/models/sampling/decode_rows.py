"""The rows of a batch while they are decoded: prompts prefilled once, tokens appended to all.

Prompts are shared by their continuations where the model can (`kv_cache.py`); that is found out
by a probe, not listed. Other models get transformers' own cache, repeated for each continuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tasks.models.policy import frozen
from tasks.models.prompt_sharing_check import Numbers, disagreement
from tasks.models.sampling.prefill import pad_left, pads_last, pieces, prefill

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Prompts = Sequence[Sequence[int]]
"""Token ids of each prompt, none empty."""

_reasons: WeakKeyDictionary[PreTrainedModel, str | None] = WeakKeyDictionary()


class Continuations(Protocol):
    """N rows that grow by a token at a time."""

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row; returns the logits after it. (N,) to (N, V)."""

    def keep(self, going: Tensor) -> Tensor:
        """Drop rows; returns which row stands in each remaining place. (N,) bool to (N',)."""


def why_not_shared(model: PreTrainedModel, tokens: Sequence[int]) -> str | None:
    """Say why a model does not share prompts while it decodes; None if it does.

    Costs a few small forward passes the first time a model is asked about.

    Args:
        model: A causal language model.
        tokens: Of a text such as the model knows: `ordinary_tokens` of its tokenizer.
    """
    if model not in _reasons:
        with frozen(model):
            _reasons[model] = _probe(model, tokens)
    return _reasons[model]


@contextmanager
def continue_prompts(
    model: PreTrainedModel, prompts: Prompts, samples: int, pad_id: int, *, shared: bool
) -> Iterator[tuple[Tensor, Continuations]]:
    """Prefill prompts and have K continuations of each during the block.

    Args:
        model: A causal language model, or an encoder–decoder that reads prompts in its encoder.
        prompts: Neighbours of similar length waste least.
        samples: Continuations per prompt (K).
        pad_id: Written where there is no token; it decides nothing.
        shared: Whether a decoder's prompts are shared, which `why_not_shared` has to allow.

    Yields:
        Logits for the first token of each row, (G·K, V), row g·K + k being continuation k of
        prompt g; and the rows.
    """
    if model.config.is_encoder_decoder:
        rows: Any = _EncodedRows(model, prompts, samples, pad_id)
    else:
        kind = _SharedRows if shared else _PlainRows
        rows = kind(model, prompts, samples, pad_id)
    with rows.attention():
        yield rows.first, rows


class _RepeatedRows:
    """Every row has the whole past of its own, in transformers' cache."""

    cache: Any
    parts: dict[str, Tensor]
    """What goes into each step beside the tokens; one entry per row."""

    def repeat(self, samples: int, logits: Tensor) -> None:
        """Make of each prompt's row as many as it has samples."""
        self.cache.batch_repeat_interleave(samples)
        self.first = logits.repeat_interleave(samples, dim=0)
        self.parts = {
            name: part.repeat_interleave(samples, dim=0) for name, part in self.parts.items()
        }

    def attention(self) -> AbstractContextManager[None]:
        """Return an empty context: the attention is the model's own."""
        return nullcontext()

    def keep(self, going: Tensor) -> Tensor:
        """Drop rows; see `Continuations`."""
        order = going.nonzero()[:, 0]
        kept = order.to(self.first.device)
        self.cache.batch_select_indices(kept)
        self.parts = {name: part[kept] for name, part in self.parts.items()}
        return order


class _PlainRows(_RepeatedRows):
    """Rows of a decoder that reads its prompt itself."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts, samples: int, pad_id: int) -> None:
        self.model = model
        logits, self.cache, mask, places = prefill(model, prompts, pad_id)
        self.parts = {"attention_mask": mask.long(), "position_ids": places}
        self.repeat(samples, logits)

    def step(self, tokens: Tensor) -> Tensor:
        mask, places = self.parts["attention_mask"], self.parts["position_ids"]
        longer = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        self.parts = {"attention_mask": longer, "position_ids": places + 1}
        return self.model(
            input_ids=tokens[:, None], **self.parts, past_key_values=self.cache, use_cache=True
        ).logits[:, -1]


class _SharedRows:
    """The rows of a prompt share its keys and values."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts, samples: int, pad_id: int) -> None:
        from tasks.models.sampling.kv_cache import SharedCache

        self.model = model
        filled = [prefill(model, piece, pad_id) for piece in pieces(prompts)]
        logits, caches, masks, places = zip(*filled, strict=True)
        self.cache = SharedCache(caches, masks, samples)
        self.first = torch.cat(logits).repeat_interleave(samples, dim=0)
        self.places = torch.cat(places).repeat_interleave(samples, dim=0)

    @contextmanager
    def attention(self) -> Iterator[None]:
        from tasks.models.sampling.shared_attention import SHARED, register

        register()
        own = self.model.config._attn_implementation
        self.model.set_attn_implementation(SHARED)
        try:
            yield
        finally:
            self.model.set_attn_implementation(own)

    def step(self, tokens: Tensor) -> Tensor:
        self.places = self.places + 1
        return self.model(
            input_ids=tokens[:, None],
            # Nobody reads it; without one some models warn that a pad might be meant.
            attention_mask=torch.ones_like(self.places),
            position_ids=self.places,
            past_key_values=self.cache,
            use_cache=True,
            continuations=self.cache,
        ).logits[:, -1]

    def keep(self, going: Tensor) -> Tensor:
        order = self.cache.keep(going)
        self.places = self.places[order.to(self.places.device)]
        return order


class _EncodedRows(_RepeatedRows):
    """Rows of a decoder; the prompt is its encoder's input, encoded once."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts, samples: int, pad_id: int) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        self.model = model
        ids, mask = (part.to(model.device) for part in pad_left(prompts, pad_id))
        ids, mask = pads_last(ids, mask)
        states = model.get_encoder()(input_ids=ids, attention_mask=mask.long())[0]
        self.cache = EncoderDecoderCache(
            DynamicCache(config=model.config), DynamicCache(config=model.config)
        )
        self.parts = {"states": states, "mask": mask.long()}
        start = torch.full((len(ids),), model.config.decoder_start_token_id, device=ids.device)
        logits = self.step(start)
        # Keys and values of the encoder are in the cache by now, once per prompt.
        self.repeat(samples, logits)

    def step(self, tokens: Tensor) -> Tensor:
        return self.model(
            encoder_outputs=(self.parts["states"],),
            attention_mask=self.parts["mask"],
            decoder_input_ids=tokens[:, None],
            past_key_values=self.cache,
            use_cache=True,
        ).logits[:, -1]


def _probe(model: PreTrainedModel, tokens: Sequence[int]) -> str | None:
    """Compare two steps of two prompts, shared, with the plain path, and drop a row between."""
    name = type(model).__name__
    ids = list(islice(cycle(tokens), 22))
    prompts, drawn = [ids[:9], ids[9:14]], torch.tensor(ids[14:]).view(2, 4).to(model.device)

    def logits(kind: Any) -> Numbers:
        rows = kind(model, prompts, 2, 0)
        with rows.attention():
            first = rows.step(drawn[0])
            kept = rows.keep(torch.tensor([True, False, True, True]))
            second = rows.step(drawn[1, kept.to(model.device)])
        if kind is _SharedRows and rows.cache.calls != 2 * len(rows.cache.layers):
            raise NotImplementedError("its attention is not transformers' interface")
        found = torch.cat([first, second[kept.argsort()]])
        # What is the same for every token decides nothing.
        return (found - found.mean(dim=-1, keepdim=True),)

    try:
        off = disagreement(model, partial(logits, _PlainRows), partial(logits, _SharedRows))
    except Exception as error:  # whatever an unknown architecture raises means "cannot"
        reason = " ".join(str(error).split())[:200]
        return f"{name} does not share prompts ({type(error).__name__}: {reason})"
    if off is None:
        return None
    return f"{name} does not share prompts (its logits differ by {off:.2g} of their size)"
