"""Tiny models of many architectures, their weights large enough that attention matters; groups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.templates import name_of

VOCABULARY = 40
PAD = 0
TEXT = range(3, VOCABULARY)
"""Ids that are no special ones, for who asks whether prompts can be shared."""
COMMON = {
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "use_cache": False,
}
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 96,
}
SIDES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 96,
    "decoder_start_token_id": 2,
    **{f"{name}dropout": 0.0 for name in ("", "attention_", "activation_")},
}
GPT2_SHAPE = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 96}
NO_DROPOUT = {f"{name}_pdrop": 0.0 for name in ("attn", "embd", "resid")}

# Configuration class, then what differs from the usual shape.
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {**GPT2_SHAPE, **NO_DROPOUT}),
    "llama": ("LlamaConfig", {**SHAPE, "num_key_value_heads": 2}),
    "llama-tied": ("LlamaConfig", {**SHAPE, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {**SHAPE, "num_key_value_heads": 1}),
    "qwen3": ("Qwen3Config", {**SHAPE, "num_key_value_heads": 2, "head_dim": 6}),
    "mistral": ("MistralConfig", {**SHAPE, "num_key_value_heads": 2, "sliding_window": 5}),
    "opt": ("OPTConfig", {**SHAPE, "ffn_dim": 24, "dropout": 0.0, "word_embed_proj_dim": 16}),
    "phi": ("PhiConfig", {**SHAPE}),
    "neox": ("GPTNeoXConfig", {**SHAPE, "attention_dropout": 0.0, "hidden_dropout": 0.0}),
    "granite": ("GraniteConfig", {**SHAPE, "logits_scaling": 4.0}),
    "gemma2": (
        "Gemma2Config",
        {
            **{**SHAPE, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 64},
            **{"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
        },
    ),
    "cohere": ("CohereConfig", {**SHAPE, "logit_scale": 0.25}),
}
# Where prompts cannot be shared: positions or states that a row of groups would mix.
APART: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("BloomConfig", {"hidden_size": 16, "n_layer": 2, "n_head": 4}),
    "mamba": ("MambaConfig", {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}),
}
TWO_SIDED: dict[str, tuple[str, dict[str, Any]]] = {
    "bart": ("BartConfig", SIDES),
    "t5": (
        "T5Config",
        {
            **{"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4},
            **{"dropout_rate": 0.0, "decoder_start_token_id": PAD},
        },
    ),
}


def build(family: str, kind: str = "ForCausalLM", seed: int = 0, **changes: Any) -> Any:
    """Build a model whose attention looks at some tokens much more than at others."""
    import transformers

    table = {**CAUSAL, **APART, **TWO_SIDED}
    config_name, shape = table[family]
    if family in TWO_SIDED:
        kind = "ForConditionalGeneration"
    config = getattr(transformers, config_name)(**{**COMMON, **shape, **changes})
    if kind == "ForSequenceClassification":
        config.num_labels = 1
    stem = config_name.removesuffix("Config")
    prefix = {"GPT2ForCausalLM": "GPT2LMHeadModel"}
    name = prefix.get(stem + kind, stem + kind)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, name)(config).eval()
    if family == "bart":
        model.generation_config.forced_bos_token_id = 1
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 2 and not re.search("emb|wte|wpe|shared", key):
                weight.copy_(noise * weight.shape[-1] ** -0.5 * 1.5)
            else:
                weight.add_(noise * 0.3)
    return model


def exact(model: Any) -> Any:
    """Return the model in float64 throughout.

    Transformers' RMSNorm computes in float32 even where the model is float64, so that gradients
    would agree to 1e-8 only; this one stays in the type it is given.
    """
    model = model.double()
    for part in model.modules():
        if type(part).__name__.endswith(("RMSNorm", "T5LayerNorm")):
            part.forward = _RMSNorm(part)
        elif type(part).__name__ == "CohereLayerNorm":
            part.forward = _Centred(part)
    return model


class _RMSNorm:
    def __init__(self, part: nn.Module) -> None:
        self.part = part

    def __call__(self, states: Tensor) -> Tensor:
        weight = self.part.weight + (type(self.part).__name__ == "Gemma2RMSNorm")
        return weight * states * (states.square().mean(-1, True) + 1e-6).rsqrt()


class _Centred(_RMSNorm):
    def __call__(self, states: Tensor) -> Tensor:
        return super().__call__(states - states.mean(-1, True))


def group(prompt: int, responses: Sequence[int], seed: int = 0) -> EncodedGroup:
    """Make a group of random ids that are no pad, from the lengths of prompt and responses."""
    generator = torch.Generator().manual_seed(seed)

    def ids(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    prompt_ids, replies = ids(prompt), [ids(length) for length in responses]
    return EncodedGroup(prompt_ids, replies, False, [False] * len(replies))


@st.composite
def ragged_groups(draw: Any, most: int = 3, longest: int = 12) -> list[EncodedGroup]:
    """One to `most` groups of 1 to 8 responses, lengths from 1 on."""
    lengths = st.integers(1, longest)
    shapes = draw(
        st.lists(
            st.tuples(lengths, st.lists(lengths, min_size=1, max_size=8)),
            min_size=1,
            max_size=most,
        )
    )
    seed = draw(st.integers(0, 2**16))
    return [group(prompt, sizes, seed + n) for n, (prompt, sizes) in enumerate(shapes)]


def value_and_gradient(model: Any, numbers: Any) -> tuple[Tensor, Tensor]:
    """Return a loss that no term of the numbers leaves out, and the whole gradient, flat."""
    model.zero_grad(set_to_none=True)
    weights = torch.linspace(-1.0, 2.0, numbers.numel(), dtype=numbers.dtype).view(numbers.shape)
    loss = (numbers.sigmoid() * weights).sum() + (numbers * weights).sum() / 7
    loss.backward()
    parts = [
        (p.grad if p.grad is not None else torch.zeros_like(p)).flatten()
        for p in model.parameters()
    ]
    return loss.detach(), torch.cat(parts)


def distance(found: Tensor, expected: Tensor) -> float:
    """Return |found − expected| / |expected|, L2."""
    return float(((found - expected).norm() / expected.norm().clamp(min=1e-30)).detach())


def saved_template(folder: Path) -> str | None:
    """Name of the chat template that a folder was saved with; None where it has another or none."""
    file = folder / "chat_template.jinja"
    return name_of(file.read_text(encoding="utf-8")) if file.is_file() else None
