"""What a paper calculation takes from a real machine: kept bytes per token, bytes per second."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import pack
from tasks.models.tokens.encoding import EncodedGroup
from tasks.storage.workspace import Workspace

# Those of Llama 2 7B.
_FEED_FORWARD, _HEAD, _VOCABULARY = 11008 / 4096, 128, 512


def group(prompt: list[int], responses: list[list[int]]) -> EncodedGroup:
    """Return an encoded group in which nothing was cut."""
    return EncodedGroup(prompt, responses, False, [False] * len(responses))


def saved_bytes(*, checkpointing: bool) -> float:
    """Measure what our forward pass keeps for the backward pass, per token, layer and width.

    Two models of the 7B's proportions, one with two layers more: the difference is theirs alone.
    """
    width, tokens = 256, 384
    prompt = [5] * (tokens // 2)
    row = pack([group(prompt, [[6] * (tokens // 4)] * 2)])
    found = [_kept(width, layers, row, checkpointing) for layers in (1, 3)]
    return (found[1] - found[0]) / (2 * tokens * width)


def _kept(width: int, layers: int, row: Any, checkpointing: bool) -> float:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // _HEAD,
            intermediate_size=round(width * _FEED_FORWARD),
            max_position_embeddings=1024,
        )
    ).train()
    policy = GroupPolicy(model)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    fixed = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed and not _is_weight_copy(tensor, width):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            loss = policy(row).sum()
    loss.backward()
    return float(sum(sizes.values()))


def _is_weight_copy(tensor: Any, width: int) -> bool:
    # Autocast's bf16 copies of the matrices are gone after the pass, however many tokens it has.
    sides = {width, round(width * _FEED_FORWARD), _VOCABULARY}
    return tensor.ndim == 2 and set(tensor.shape) <= sides and tensor.shape[0] in sides


def written_per_second(size: int = 512 << 20) -> float:
    """Measure how fast a part is written, synced and digested by one process, bytes per second."""
    data = os.urandom(64 << 20)

    def write(folder: Path) -> None:
        with open(folder / "state", "wb") as out:
            for _ in range(size // len(data)):
                out.write(data)

    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        began = time.perf_counter()
        workspace.save_part("state", write)
        return size / (time.perf_counter() - began)
