"""Private random streams: the same numbers for the same seed, whoever else draws numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """Mix names and numbers into one seed in [0, 2^63), the same in every process.

    Example:
        >>> derive_seed(1, "shard", 0) != derive_seed(1, "shard", 1)
        True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Run a block with torch's global streams seeded, and give them back as they were."""
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*parts))
        yield


def uniforms(rows: int, columns: int, *parts: int | str) -> torch.Tensor:
    """Uniform numbers in [0, 1) of a stream of their own. Shape (rows, columns), float64."""
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64)
