"""What every loss of this folder promises, whatever it computes."""

from __future__ import annotations

import doctest
import importlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tasks.objectives.reward import bradley_terry
from tasks.objectives.sft import sft
from tests.tasks.objectives.every_loss import LOSSES, B, K, Loss, possible

KEEP = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
each_masked = pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if loss.mask], ids=lambda loss: loss.name
)


def _run(
    loss: Loss, inputs: dict[str, Tensor], **extra: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The value and the gradient of its sum by each differentiable input."""
    leaves = {
        name: value if name in loss.plain else value.clone().requires_grad_()
        for name, value in inputs.items()
    }
    value = loss.call(**leaves, **extra)
    value.sum().backward()
    return value.detach(), {n: leaf.grad for n, leaf in leaves.items() if leaf.grad is not None}


@each_loss
def test_gradient_agrees_with_finite_differences(loss: Loss) -> None:
    inputs = loss.inputs()
    names = [name for name in inputs if name not in loss.plain]
    plain = {name: inputs[name] for name in loss.plain}
    leaves = [inputs[name].requires_grad_() for name in names]

    def call(*tensors: Tensor) -> Tensor:
        return loss.call(**dict(zip(names, tensors, strict=True)), **plain)

    assert torch.autograd.gradcheck(call, leaves)


@each_loss
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e2, 1e4])
def test_finite_in_float32(loss: Loss, scale: float) -> None:
    inputs = {n: v.sign() * scale if n != "lengths" else v for n, v in loss.inputs().items()}
    value, gradients = _run(loss, {n: possible(n, v).float() for n, v in inputs.items()})
    assert value.isfinite().all() and value.dtype == torch.float32
    assert gradients and all(gradient.isfinite().all() for gradient in gradients.values())


@each_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_raised(loss: Loss, dtype: torch.dtype) -> None:
    half = loss.inputs(dtype=dtype)
    value, gradients = _run(loss, half)
    expected, _ = _run(loss, {name: tensor.float() for name, tensor in half.items()})
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert all(gradient.dtype == dtype for gradient in gradients.values())


@each_loss
def test_double_precision_is_kept(loss: Loss) -> None:
    assert _run(loss, loss.inputs())[0].dtype == torch.float64


@each_loss
def test_inputs_are_unchanged(loss: Loss) -> None:
    inputs = loss.inputs()
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    value = loss.call(**inputs)
    value.zero_()  # would write through a view
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)


@each_loss
def test_repeats_itself(loss: Loss) -> None:
    inputs = loss.inputs()
    assert torch.equal(loss.call(**inputs), loss.call(**inputs))


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if len(loss.shapes) > 1], ids=lambda loss: loss.name
)
def test_shapes_that_differ_are_refused(loss: Loss) -> None:
    inputs = loss.inputs()
    inputs[list(inputs)[1]] = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="shape|differ"):
        loss.call(**inputs)


@each_masked
@pytest.mark.parametrize("junk", [math.inf, -math.inf, math.nan, 1e30])
def test_nothing_outside_the_mask_matters(loss: Loss, junk: float) -> None:
    """Junk in masked slots gives the value and gradient of zeros there; its own gradient is 0."""
    inputs = loss.inputs()
    mask = {loss.mask: KEEP}
    clean = {n: v.masked_fill(~KEEP, 0) if n in loss.masked else v for n, v in inputs.items()}
    dirty = {n: v.masked_fill(~KEEP, junk) if n in loss.masked else v for n, v in inputs.items()}
    if "gold" in inputs:  # the middle query has no sample left, so that its gold is outside too
        clean["gold"] = inputs["gold"] * torch.tensor([1.0, 0.0, 1.0])
        dirty["gold"] = torch.where(KEEP.any(dim=1), inputs["gold"], torch.tensor(junk))
    value, gradients = _run(loss, dirty, **mask)
    expected, expected_gradients = _run(loss, clean, **mask)
    assert torch.equal(value, expected)
    assert all(torch.equal(gradients[n], g) for n, g in expected_gradients.items())
    for name in gradients.keys() & set(loss.masked):
        assert (gradients[name][~KEEP] == 0).all()


@each_masked
def test_a_masked_slot_is_as_if_absent(loss: Loss) -> None:
    """Masking the last slot equals cutting it off."""
    inputs = loss.inputs()
    mask = torch.ones(B, K, dtype=torch.bool)
    mask[:, -1] = False
    cut = {n: v[:, :-1] if n in loss.masked else v for n, v in inputs.items()}
    torch.testing.assert_close(loss.call(**inputs, **{loss.mask: mask}), loss.call(**cut))


@each_masked
def test_everything_masked_is_zero(loss: Loss) -> None:
    inputs = {n: v for n, v in loss.inputs().items()}
    for name in ("chosen", "rejected"):
        if name in inputs:
            inputs[name] = inputs[name][:0]
    value, gradients = _run(loss, inputs, **{loss.mask: torch.zeros(B, K, dtype=torch.bool)})
    assert (value == 0).all()
    assert all((gradient == 0).all() for gradient in gradients.values())


@each_masked
def test_a_mask_that_is_not_bool_is_refused(loss: Loss) -> None:
    with pytest.raises(ValueError, match="bool"):
        loss.call(**loss.inputs(), **{loss.mask: KEEP.long()})


@each_loss
def test_an_empty_batch_gives_no_nan(loss: Loss) -> None:
    inputs = {name: tensor[:0] for name, tensor in loss.inputs().items()}
    assert not loss.call(**inputs).isnan().any()


@pytest.mark.parametrize("loss", [bradley_terry, sft])
def test_a_single_number_works(loss: Callable[..., Tensor]) -> None:
    numbers = [torch.tensor(0.0)] * (2 if loss is bradley_terry else 1)
    assert loss(*numbers).shape == ()


@pytest.mark.parametrize(
    "name",
    [
        "reward",
        "response_scores",
        "apo",
        "ava",
        "ava_diagnostics",
        "ava_terms",
        "dpo",
        "exo",
        "ppo",
        "rrhf",
        "sft",
    ],
)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    module = importlib.import_module(f"tasks.objectives.{name}")
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0 and outcome.failed == 0
