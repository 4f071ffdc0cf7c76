"""Whether a model computes the same when the responses of a group share their prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.models.tokens.encoding import EncodedGroup

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Relative to the plain path. Parts of a float64 model compute in float32 (norms, Gemma's softmax);
# bfloat16 has 8 bits of mantissa.
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2}
_LOOSE = 1e-1
_DROPOUTS = ("dropout", "pdrop", "dropout_prob", "dropout_rate", "layerdrop")


def probe_groups(vocabulary: int, pad_id: int | None) -> list[EncodedGroup]:
    """Return three ragged groups of ids that are no pad, the same every time."""
    generator = torch.Generator().manual_seed(0)
    known = [i for i in range(min(vocabulary, 64)) if i != pad_id]

    def ids(count: int) -> list[int]:
        chosen = torch.randint(len(known), (count,), generator=generator)
        return [known[i] for i in chosen.tolist()]

    shapes = [(5, (3, 6)), (1, (2,)), (9, (1, 4, 7))]
    return [
        EncodedGroup(ids(prompt), [ids(n) for n in sizes], False, [False] * len(sizes))
        for prompt, sizes in shapes
    ]


def difference(found: Tensor, expected: Tensor) -> float:
    """Return |found − expected| / |expected|, L2; infinity where one is not finite."""
    size = expected.norm().clamp(min=torch.finfo(expected.dtype).tiny)
    return float(((found - expected).norm() / size).nan_to_num(torch.inf, torch.inf))


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest `difference` that rounding in a type explains."""
    return _TOLERANCES.get(dtype, _LOOSE)


def dropouts(config: PretrainedConfig) -> list[str]:
    """Return the names of what a configuration drops at random in train mode."""
    return [
        name
        for name, value in vars(config).items()
        if isinstance(value, float) and value > 0 and name.endswith(_DROPOUTS)
    ]


def longest_sequence(config: PretrainedConfig, *, windows: bool) -> float:
    """Return the longest sequence, in tokens, that every layer sees as a whole.

    Sliding windows count unless they are taken care of.
    """
    names = ["attention_chunk_size"]
    if windows and getattr(config, "use_sliding_window", True):
        names.append("sliding_window")
    return min(getattr(config, name, None) or float("inf") for name in names)


def logit_scale(config: PretrainedConfig) -> float:
    """Return what a model multiplies its logits with: Cohere's scale, one over Granite's."""
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    return (scale if isinstance(scale, float | int) else 1.0) / (divisor or 1.0)
