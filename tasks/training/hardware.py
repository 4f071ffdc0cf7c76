"""What the training runs on: device, precision, number of processes."""

from __future__ import annotations

import os

import torch


def uses_bf16(precision: str) -> bool:
    """Return whether a forward pass of this precision computes in bfloat16 here.

    Args:
        precision: fp32, bf16 or auto.
    """
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def arithmetic_of(precision: str) -> torch.autocast:
    """Return a context whose forward passes compute in this precision.

    Ours rather than accelerate's: the library fixes one precision per process, and trainings of
    several precisions, and reference passes in each of them, may follow each other in one.

    Args:
        precision: fp32, bf16 or auto.
    """
    return torch.autocast(training_device(), torch.bfloat16, enabled=uses_bf16(precision))


def training_device() -> str:
    """Return where models are trained here: cuda, or else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def world_size() -> int:
    """Return how many processes train together, as a launcher says it."""
    return int(os.environ.get("WORLD_SIZE", "1"))
