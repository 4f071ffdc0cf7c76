"""Small policies built from scratch, for runs without a pretrained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from tasks.settings.base import FrozenConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


class ArchitectureConfig(FrozenConfig):
    """The shape of a model that starts from random weights."""

    kind: Literal["llama", "gpt2", "qwen2"] = "llama"
    """Family of the architecture."""
    hidden_size: int = Field(128, ge=1)
    """Width of the residual stream."""
    layers: int = Field(4, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide `hidden_size`."""
    kv_heads: int | None = None
    """Key and value heads (llama, qwen2); None is as many as `heads`."""
    feed_forward: int | None = None
    """Inner width of a block's feed-forward part; None is 8/3 of `hidden_size` (gated), 4 for
    gpt2."""
    context: int = Field(512, ge=2)
    """Longest sequence, tokens."""
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
    """A causal language model with random weights, the same for the same seed.

    Args:
        config: Its shape.
        tokenizer: Gives the vocabulary size and the special ids.
        seed: Of the weights. Nobody else's random numbers change.

    Returns:
        The model in eval mode, float32, input and output embeddings tied.
    """
    from transformers import AutoModelForCausalLM

    from tasks.models.randomness import seeded

    with seeded("policy", seed):
        special = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        shape = architecture_of(config, len(tokenizer), **special)
        model = AutoModelForCausalLM.from_config(shape)
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
    from transformers import GPT2Config, LlamaConfig, Qwen2Config

    common = {
        "vocab_size": vocabulary,
        **special,
        "attention_dropout": config.dropout,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if config.kind == "gpt2":
        common.pop("attention_dropout")
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
    family = LlamaConfig if config.kind == "llama" else Qwen2Config
    return family(
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads or config.heads,
        # Multiples of 16 keep matrix shapes friendly to vector units.
        intermediate_size=config.feed_forward or -(-config.hidden_size * 8 // 3 // 16) * 16,
        max_position_embeddings=config.context,
        **common,
    )
