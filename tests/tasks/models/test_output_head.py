"""A model's own head, read in chunks, against the logits that the model itself gives out."""

from __future__ import annotations

import pytest
import torch

from tasks.models.chunked_logps import target_and_logsumexp
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.output_head import head_logps, head_readings
from tests.tasks.models import families
from tests.tasks.models.families import PAD, distance, group


@pytest.mark.parametrize("family", ["gpt2", "granite", "gemma2", "cohere", "t5", "bart"])
def test_readings_are_those_of_the_logits_that_the_model_gives_out(family: str) -> None:
    """Biases, scales and softcaps included, forward and backward."""
    model = families.build(family)
    if family == "bart":
        model.final_logits_bias.copy_(torch.randn(1, families.VOCABULARY))
    policy = GroupPolicy(model)
    batch = policy.batch([group(4, [3])], PAD)
    states = policy.states(batch).detach()
    plain = policy.states(batch).detach()
    for given in (states, plain):
        given.requires_grad_()
    policy.take_plain_path("for comparison")
    logps = policy.token_logps(policy.batch([group(4, [3])], PAD))
    found = head_readings(model, states, batch.targets, target_and_logsumexp)
    assert torch.allclose(found[:, 0] - found[:, 1], logps, atol=1e-4)
    expected = head_logps(model, plain, batch.targets, 1.0)
    weights = torch.tensor([1.0, -2.0, 0.5])
    ((found[:, 0] - found[:, 1]) * weights).sum().backward()
    (expected * weights).sum().backward()
    assert distance(states.grad, plain.grad) <= 1e-4


def test_a_head_that_is_no_matrix_is_refused_and_the_head_is_left_as_it_was() -> None:
    model = families.build("llama")
    states, targets = torch.randn(3, 16), torch.tensor([1, 2, 3])
    expected = model.lm_head(states).div(0.5).log_softmax(-1)[range(3), targets]
    assert torch.allclose(head_logps(model, states, targets, 0.5), expected)
    assert model.lm_head(states).shape == (3, families.VOCABULARY)
    with pytest.raises(ValueError, match="temperature must be positive"):
        head_logps(model, states, targets, 0)
    assert model.lm_head(states).shape == (3, families.VOCABULARY)
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(NotImplementedError, match="output embedding is a Sequential"):
        head_logps(model, states, targets, 1)
