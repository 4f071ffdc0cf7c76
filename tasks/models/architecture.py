"""Small policies built from scratch, for runs without a pretrained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from tasks.settings.base import FrozenConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

WITH_ENCODER = ("bart", "t5")
"""Kinds whose encoder reads the prompt."""
NO_ENCODER = (
    "has an encoder for the prompt, which PPO's critic and reward models with a head at the last "
    "token have no place for: take a decoder such as Llama, Qwen2 or GPT-2"
)
"""Why a model does not serve these, after its name."""


class ArchitectureConfig(FrozenConfig):
    """The shape of a model that starts from random weights."""

    kind: Literal["llama", "gpt2", "qwen2", "bart", "t5"] = "llama"
    """Family of the architecture; bart and t5 read the prompt in an encoder."""
    hidden_size: int = Field(128, ge=1)
    """Width of the residual stream."""
    layers: int = Field(4, ge=1)
    """Transformer blocks; of bart and t5 so many in the encoder and in the decoder."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide `hidden_size`."""
    kv_heads: int | None = None
    """Key and value heads (llama, qwen2); None is as many as `heads`."""
    feed_forward: int | None = None
    """Inner width of a block's feed-forward part; None is 8/3 of `hidden_size` (gated: llama,
    qwen2), else 4."""
    context: int = Field(512, ge=2)
    """Longest sequence, tokens; t5 has no longest."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout while training; models are loaded without it unless asked."""

    @model_validator(mode="after")
    def _heads_divide(self) -> ArchitectureConfig:
        if self.hidden_size % self.heads or (self.hidden_size // self.heads) % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be an even multiple of heads {self.heads}"
            )
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self


def build_policy(
    config: ArchitectureConfig, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """A language model with random weights, the same for the same seed.

    Args:
        config: Its shape.
        tokenizer: Gives the vocabulary size and the special ids.
        seed: Of the weights. Nobody else's random numbers change.

    Returns:
        The model in eval mode, float32, input and output embeddings tied.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from tasks.models.randomness import seeded

    with seeded("policy", seed):
        special = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        shape = architecture_of(config, len(tokenizer), **special)
        kind = AutoModelForSeq2SeqLM if shape.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_config(shape)
    return model.eval()


def architecture_of(
    config: ArchitectureConfig, vocabulary: int, **special: int | None
) -> PretrainedConfig:
    """Return transformers' config of a model to be built.

    Args:
        config: Its shape.
        vocabulary: Entries of its embeddings.
        **special: Ids of special tokens by transformers' names; its own defaults where left out.
    """
    common = {
        "vocab_size": vocabulary,
        **special,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    build = {"gpt2": _gpt2, "bart": _bart, "t5": _t5}.get(config.kind, _llama_or_qwen2)
    return build(config, common)


def _gpt2(config: ArchitectureConfig, common: dict[str, Any]) -> PretrainedConfig:
    from transformers import GPT2Config

    return GPT2Config(
        n_embd=config.hidden_size,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=config.feed_forward or 4 * config.hidden_size,
        n_positions=config.context,
        attn_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        resid_pdrop=config.dropout,
        **common,
    )


def _llama_or_qwen2(config: ArchitectureConfig, common: dict[str, Any]) -> PretrainedConfig:
    from transformers import LlamaConfig, Qwen2Config

    family = LlamaConfig if config.kind == "llama" else Qwen2Config
    return family(
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads or config.heads,
        # Multiples of 16 keep matrix shapes friendly to vector units.
        intermediate_size=config.feed_forward or -(-config.hidden_size * 8 // 3 // 16) * 16,
        max_position_embeddings=config.context,
        attention_dropout=config.dropout,
        **common,
    )


def _bart(config: ArchitectureConfig, common: dict[str, Any]) -> PretrainedConfig:
    from transformers import BartConfig

    inner = config.feed_forward or 4 * config.hidden_size
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", config.layers), ("attention_heads", config.heads), ("ffn_dim", inner)
        )
    }  # fmt: skip
    return BartConfig(
        d_model=config.hidden_size,
        max_position_embeddings=config.context,
        dropout=config.dropout,
        attention_dropout=config.dropout,
        # As in pretrained ones: the decoder begins with the token that ends a text.
        decoder_start_token_id=common.get("eos_token_id", 2),
        forced_eos_token_id=None,
        **sides,
        **common,
    )


def _t5(config: ArchitectureConfig, common: dict[str, Any]) -> PretrainedConfig:
    from transformers import T5Config

    return T5Config(
        d_model=config.hidden_size,
        d_kv=config.hidden_size // config.heads,
        d_ff=config.feed_forward or 4 * config.hidden_size,
        num_layers=config.layers,
        num_heads=config.heads,
        n_positions=config.context,
        dropout_rate=config.dropout,
        decoder_start_token_id=common.get("pad_token_id", 0),
        **common,
    )
