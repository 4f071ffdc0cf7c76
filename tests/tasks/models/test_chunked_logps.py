"""Log-probabilities of single tokens against a whole log-softmax."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.models.chunked_logps import target_and_logsumexp, token_logps, token_readings
from tests.tasks.models.families import distance

VOCABULARY, WIDTH = 23, 5


def inputs(
    rows: int, *, bias: bool, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, WIDTH), (VOCABULARY, WIDTH)] + [(VOCABULARY,)] * bias
    tensors = [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]
    return tensors, torch.randint(VOCABULARY, (rows,), generator=generator)


def plain(
    tensors: list[Tensor], targets: Tensor, temperature: float, softcap: float | None
) -> Tensor:
    logits = torch.nn.functional.linear(*tensors)
    if softcap:
        logits = softcap * (logits / softcap).tanh()
    return (logits / temperature).log_softmax(-1).gather(-1, targets[:, None])[:, 0]


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 200),
    bias=st.booleans(),
    temperature=st.sampled_from([0.3, 1.0, 4.0]),
    softcap=st.sampled_from([None, 1.5]),
    chunk_bytes=st.sampled_from([1, 100 * VOCABULARY * 8, 1 << 20]),
)
def test_equals_the_whole_table(
    rows: int, bias: bool, temperature: float, softcap: float | None, chunk_bytes: int
) -> None:
    ours, targets = inputs(rows, bias=bias)
    theirs, _ = inputs(rows, bias=bias)
    found = token_logps(
        *(ours if bias else [*ours, None]),
        targets,
        temperature,
        softcap=softcap,
        chunk_bytes=chunk_bytes,
    )
    expected = plain(theirs, targets, temperature, softcap)
    assert distance(found, expected) <= 1e-12
    weights = torch.linspace(-1, 1.5, rows, dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, his in zip(ours, theirs, strict=True):
        assert distance(mine.grad, his.grad) <= 1e-11


@pytest.mark.parametrize("softcap", [None, 0.8])
def test_gradients_are_the_slopes_of_the_values(softcap: float | None) -> None:
    tensors, targets = inputs(3, bias=True)
    assert torch.autograd.gradcheck(
        lambda *given: token_logps(*given, targets, 0.7, softcap=softcap), tensors
    )


def read_prob(logits: Tensor, targets: Tensor) -> Tensor:
    """A double softmax, the map `prob` of AVA."""
    return (5 * logits.softmax(-1)).log_softmax(-1).gather(-1, targets[:, None])


READINGS = {"raw": target_and_logsumexp, "prob": read_prob}


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 200),
    bias=st.booleans(),
    name=st.sampled_from(sorted(READINGS)),
    chunk_bytes=st.sampled_from([1, 100 * VOCABULARY * 8, 1 << 20]),
)
def test_readings_equal_those_of_the_whole_table(
    rows: int, bias: bool, name: str, chunk_bytes: int
) -> None:
    reading = READINGS[name]
    ours, targets = inputs(rows, bias=bias)
    theirs, _ = inputs(rows, bias=bias)
    given_ = ours if bias else [*ours, None]
    found = token_readings(*given_, targets, reading, chunk_bytes=chunk_bytes)
    expected = reading(torch.nn.functional.linear(*theirs), targets)
    assert distance(found, expected) <= 1e-12
    weights = torch.linspace(-1, 1.5, found.numel(), dtype=torch.float64).view(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, his in zip(ours, theirs, strict=True):
        assert distance(mine.grad, his.grad) <= 1e-11


@pytest.mark.parametrize("name", READINGS)
def test_gradients_of_readings_are_the_slopes_of_the_values(name: str) -> None:
    tensors, targets = inputs(3, bias=True)
    assert torch.autograd.gradcheck(
        lambda *given: token_readings(*given, targets, READINGS[name]), tensors
    )


def test_readings_reduce_in_float32_under_autocast() -> None:
    tensors, targets = inputs(50, bias=True, dtype=torch.float32)
    expected = target_and_logsumexp(torch.nn.functional.linear(*tensors), targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_readings(*tensors, targets, target_and_logsumexp)
    assert found.dtype == torch.float32
    assert float((found - expected).detach().abs().max()) < 0.1
    found.sum().backward()
    assert all(tensor.grad.dtype == torch.float32 for tensor in tensors)
    token_readings(tensors[0], tensors[1].detach(), None, targets, read_prob).sum().backward()


def test_only_the_gradients_that_are_asked_for() -> None:
    (hidden, weight, bias), targets = inputs(4, bias=True)
    token_logps(hidden, weight.detach(), bias, targets).sum().backward()
    assert weight.grad is None and hidden.grad is not None and bias.grad is not None
    token_logps(hidden.detach(), weight, None, targets).sum().backward()
    assert weight.grad is not None


def test_bf16_autocast_reduces_in_float32() -> None:
    tensors, targets = inputs(50, bias=True, dtype=torch.float32)
    expected = plain(tensors, targets, 1.0, None)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(*tensors, targets)
    assert found.dtype == torch.float32
    # A logit of size 5 is rounded by 2^-9 of it.
    assert float((found - expected).detach().abs().max()) < 0.1
    found.sum().backward()
    assert all(tensor.grad.dtype == torch.float32 for tensor in tensors)


def test_extreme_logits_give_finite_gradients() -> None:
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    found = token_logps(hidden, weight, None, torch.tensor([0, 0]))
    assert found.tolist() == [0.0, -2e4]
    found.sum().backward()
    assert bool(hidden.grad.isfinite().all()) and bool(weight.grad.isfinite().all())
    assert hidden.grad.tolist() == [[0.0], [2.0]]


def test_inputs_stay_as_they_are() -> None:
    tensors, targets = inputs(7, bias=True)
    copies = [tensor.detach().clone() for tensor in tensors]
    token_logps(*tensors, targets, 0.5, softcap=1.0, chunk_bytes=1).sum().backward()
    assert all(torch.equal(*pair) for pair in zip(tensors, copies, strict=True))


def test_a_temperature_that_is_not_positive_is_refused() -> None:
    tensors, targets = inputs(1, bias=False)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        token_logps(*tensors, None, targets, 0)


PEAK = """
import resource, sys, torch
from tasks.models import chunked_logps
torch.set_num_threads(1)
hidden = torch.zeros(int(sys.argv[1]), 8, requires_grad=True)
weight = torch.zeros(4000, 8, requires_grad=True)
targets = torch.zeros(len(hidden), dtype=torch.long)
more = {"token_logps": (), "token_readings": (chunked_logps.target_and_logsumexp,)}[sys.argv[2]]
read = getattr(chunked_logps, sys.argv[2])
read(hidden[:64], weight, None, targets[:64], *more).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read(hidden, weight, None, targets, *more, chunk_bytes=4 << 20).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["token_logps", "token_readings"])
def test_memory_does_not_grow_with_tokens_times_vocabulary(name: str) -> None:
    """8000 tokens of 4000 logits would be 128 MB in float32, and as much for the gradient."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PEAK, "8000", name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000  # kB
