"""One training step on made-up groups of one shape, shared and padded: how the cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.engine.setting import Setting
from benchmarks.engine.sides.padded_path import padded_logps
from benchmarks.engine.worker import Block, Turns
from tasks.models.groups.flops import best_matmul_rate, multiply_adds
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import pack
from tasks.models.memory import kept_memory
from tasks.models.precision import arithmetic_of, compute_device
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.base import FrozenConfig


class Shape(FrozenConfig):
    """What a step computes."""

    prompt: int = 128
    """Tokens of each prompt."""
    response: int = 48
    """Tokens of each response."""
    size: int = 4
    """Responses per prompt."""
    groups: int = 4
    """Groups per step."""
    hidden: int = 384
    """Width of the model; heads have 64 numbers."""
    layers: int = 6
    """Blocks of the model."""
    vocabulary: int = 8000
    """Entries of the output head."""


def step(
    turns: Turns, setting: Setting, folder: Path, *, layout: str, precision: str, **shape: Any
) -> None:
    """Work one optimiser step per block: an EXO-shaped loss on all responses of each group.

    The layout is `shared` or `padded`; the shape says the rest, nothing is read from the folder.
    """
    asked, device = Shape(**shape), compute_device()
    model = _model(asked).to(device)
    grouped = GroupPolicy(model) if layout == "shared" else None
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    groups = _groups(asked)
    row = pack(groups)
    count = asked.groups * asked.size
    sizes = {"shared": row.tokens, "padded": count * (asked.prompt + asked.response)}
    done: Block | None = None
    number = 0
    with kept_memory():
        while True:
            if number > 1:
                turns.next(done if number > 2 else None)
            number += 1
            if grouped is None:
                logps, _ = padded_logps(model, groups, precision, device)
            else:
                with arithmetic_of(precision):
                    logps = grouped(row.to(device))
            loss = _exo_shaped(logps)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            done = Block(units=asked.groups, computed=sizes[layout], needed=row.tokens)
            done.losses[number] = loss.item()
            done.operations = 6.0 * multiply_adds(model, row)
            done.notes = {"matmul": best_matmul_rate(device)}


def _exo_shaped(logps: Tensor) -> Tensor:
    wanted = logps.new_tensor(range(logps.shape[1])).softmax(-1)
    return -(wanted * (0.1 * logps).log_softmax(-1)).sum(-1).mean()


def _model(shape: Shape) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.hidden // 64,
            intermediate_size=-(-shape.hidden * 8 // 3 // 64) * 64,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
    )


def _groups(shape: Shape) -> list[EncodedGroup]:
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        return torch.randint(3, shape.vocabulary, (count,), generator=generator).tolist()

    return [
        EncodedGroup(
            ids(shape.prompt),
            [ids(shape.response) for _ in range(shape.size)],
            False,
            [False] * shape.size,
        )
        for _ in range(shape.groups)
    ]
