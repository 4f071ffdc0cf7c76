"""The most memory that a training has held."""

from __future__ import annotations

import resource

import torch


def peak_memory_gb() -> float:
    """Return the most memory this process has held, GB: the GPU's, or else its resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
