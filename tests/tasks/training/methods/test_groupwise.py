"""What the methods on K responses log, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.training.methods.groupwise import GroupwiseConfig, choice_metrics
from tasks.training.methods.registry import GROUP_METHODS

# Row 0: h = (log 2, 0, 0) gives p_f = (2, 1, 1) / 4, and p_r = (1, 1, 2) / 4; its best is the last.
# Row 1: two slots, p_f = (1, 3) / 4 and p_r = (1, 3) / 4.
POLICY = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, math.log(3), 50.0]], requires_grad=True)
REFERENCE = torch.zeros(2, 3)
REWARDS = 0.5 * torch.tensor([[1.0, 1.0, 2.0], [1.0, 3.0, 9.0]]).log()
MASK = torch.tensor([[True, True, True], [True, True, False]])
COEFFICIENTS = GroupwiseConfig(beta_pi=1.0, beta_r=0.5)


def test_metrics_by_hand() -> None:
    """KL = 0.25 log 2 and 0; the entropies are 1.5 log 2 and that of (1, 3) / 4, 0.562335."""
    found = choice_metrics(POLICY, REFERENCE, REWARDS, MASK, COEFFICIENTS)
    expected = {
        "kl/p_f_p_r": [0.173287, 0.0],
        "entropy/p_f": [1.039721, 0.562335],
        "entropy/p_r": [1.039721, 0.562335],
        "p_f/best": [0.25, 0.75],
        "rewards/accuracies": [0.0, 1.0],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert not found[name].requires_grad
        assert found[name].tolist() == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize(("method", "entropy"), [("exo_rw", [0, 0]), ("dpo_rw", [1.5, 0.811278])])
def test_losses_are_the_divergence_and_for_dpo_the_entropy(method, entropy) -> None:
    """In row 0 both divergences are 0.25 log 2; dpo_rw adds the entropy of p_r (here in bits)."""
    lengths = torch.ones(2, 3)
    losses, metrics = GROUP_METHODS[method].loss(
        POLICY, REFERENCE, REWARDS, lengths, MASK, COEFFICIENTS
    )
    expected = [0.173287 + entropy[0] * math.log(2), entropy[1] * math.log(2)]
    assert losses.tolist() == pytest.approx(expected, abs=1e-5)
    assert losses.requires_grad and "kl/p_f_p_r" in metrics
