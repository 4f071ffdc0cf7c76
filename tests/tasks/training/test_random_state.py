"""Random streams come back exactly as they were."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from safetensors.torch import load, save

from tasks.training.random_state import (
    capture_streams,
    deterministic,
    restore_streams,
    seed_everything,
)


def draw() -> list:
    """Some of every stream; one Gaussian of python's and numpy's pairs stays behind."""
    return [
        random.random(), random.gauss(0, 1), numpy.random.rand(), numpy.random.randn(),
        torch.rand(3).tolist(), torch.randn(20).tolist(),
    ]  # fmt: skip


def test_streams_survive_a_file():
    seed_everything(2**40 + 3)
    draw()
    saved = save(capture_streams())
    expected = [draw(), draw()]
    seed_everything(1)
    restore_streams(load(saved))
    assert [draw(), draw()] == expected


def test_a_missing_stream_is_an_error():
    streams = capture_streams()
    del streams["numpy"]
    with pytest.raises(KeyError, match="numpy"):
        restore_streams(streams)


def test_determinism_is_asked_for_and_given_back():
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
