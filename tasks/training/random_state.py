"""All random streams of the process: seeding them, keeping them, putting them back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed python's, numpy's and torch's global streams.

    Args:
        seed: Any non-negative integer; numpy takes its lowest 32 bits.
    """
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for repeatable kernels while the block runs.

    Operations that have none warn instead of failing: a GPU user would rather train.
    """
    # cuBLAS reads this once, when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned_before = torch.is_deterministic_algorithms_warn_only_enabled()
    filled_before = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every new tensor with NaN costs time and guards against nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned_before)
        torch.utils.deterministic.fill_uninitialized_memory = filled_before


def capture_streams() -> dict[str, Tensor]:
    """Return the state of every global random stream as named tensors."""
    python = random.getstate()
    name, keys, position, has_gauss, gauss = numpy.random.get_state(legacy=True)
    assert python[0] == 3 and name == "MT19937", "both have been Mersenne twisters for decades"
    streams = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(python[1], dtype=torch.int64),
        # NaN where no second Gaussian is waiting.
        "python_gauss": torch.tensor([_or_nan(python[2])], dtype=torch.float64),
        "numpy": torch.tensor([*map(int, keys), position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([gauss], dtype=torch.float64),
    }
    for index in range(torch.cuda.device_count()):
        streams[f"cuda_{index}"] = torch.cuda.get_rng_state(index)
    return streams


def restore_streams(streams: Mapping[str, Tensor]) -> None:
    """Put every global random stream back into a captured state.

    Raises:
        KeyError: A stream that this process has is not among the captured ones.
    """
    gauss = streams["python_gauss"].item()
    python = tuple(streams["python"].tolist())
    random.setstate((3, python, None if gauss != gauss else gauss))
    *keys, position, has_gauss = streams["numpy"].tolist()
    state = numpy.array(keys, dtype=numpy.uint32)
    numpy.random.set_state(("MT19937", state, position, has_gauss, streams["numpy_gauss"].item()))
    torch.set_rng_state(streams["torch"])
    for index in range(torch.cuda.device_count()):
        torch.cuda.set_rng_state(streams[f"cuda_{index}"], index)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
