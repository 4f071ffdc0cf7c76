"""Writes a tiny Llama as llama.cpp would: names, shapes and the order of q and k are GGUF's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np


def write_gguf(
    path: Path, model: Any, tokenizer: Any, *, kind: Any = None, architecture: str = "llama"
) -> Path:
    """Write a Llama with its tokenizer.

    Args:
        path: The file.
        model: A `LlamaForCausalLM`.
        tokenizer: A byte-level BPE.
        kind: A `GGMLQuantizationType` that its matrices are packed in; None keeps float32.
        architecture: What the file says it is.
    """
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, model.config)
    _write_tokenizer(writer, tokenizer)
    layers = model.config.num_hidden_layers
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = weight.float().numpy()
        for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            if part in name:
                values = _interleaved(values, getattr(model.config, heads))
        stem, suffix = name.rsplit(".", 1)
        packed = kind is not None and values.ndim == 2
        writer.add_tensor(
            f"{names.get_name(stem)}.{suffix}",
            gguf.quants.quantize(values, kind) if packed else np.ascontiguousarray(values),
            raw_dtype=kind if packed else None,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_shape(writer: Any, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)


def _write_tokenizer(writer: Any, tokenizer: Any) -> None:
    import json

    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    special = {tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }} {% endfor %}")


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of a head as llama.cpp's rotary embedding has them."""
    split = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(values.shape))
