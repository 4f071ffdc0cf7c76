"""Our numbers against TRL's: pinned, and by TRL's own code."""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import trl
from torch import Tensor

from tasks.objectives.dpo import dpo
from tasks.objectives.exo import exo_pref
from tasks.objectives.reward import bradley_terry

POLICY = torch.tensor([[-12.5, -30.25], [-41.0, -8.5], [-20.0, -19.0], [-5.5, -60.0]])
REFERENCE = torch.tensor([[-14.0, -28.0], [-40.0, -9.75], [-20.5, -19.0], [-6.0, -59.5]])
CHOSEN = torch.tensor([1.25, -0.5, 3.0, 0.0])
REJECTED = torch.tensor([0.25, 0.75, -2.0, 0.0])

# From TRL 1.16.0 with float32 on these tensors, one pair at a time: DPOTrainer `sigmoid`, `aot` of
# one pair with label smoothing 0.2 (the smoothed sigmoid; `sigmoid` itself has lost the option),
# `exo_pair` with label smoothing 0.001, and RewardTrainer.
TRL_SIGMOID = [0.5231233, 0.811962, 0.6684597, 0.6443967]
TRL_SMOOTHED = [0.5981233, 0.7669621, 0.6784597, 0.6643967]
TRL_EXO = [2.1384792, 3.154393, 2.6752269, 2.5899541]
TRL_REWARD = [0.3132617, 1.501929, 0.0067153, 0.6931472]


def test_dpo_agrees_with_the_pinned_numbers() -> None:
    assert dpo(POLICY, REFERENCE, beta=0.1).tolist() == pytest.approx(TRL_SIGMOID, abs=1e-6)
    smoothed = dpo(POLICY, REFERENCE, beta=0.1, label_smoothing=0.2)
    assert smoothed.tolist() == pytest.approx(TRL_SMOOTHED, abs=1e-6)


def test_exo_pref_agrees_with_the_pinned_numbers() -> None:
    ours = exo_pref(POLICY, REFERENCE, beta_pi=0.1, epsilon=1e-3)
    assert ours.tolist() == pytest.approx(TRL_EXO, abs=1e-6)


def test_bradley_terry_agrees_with_the_pinned_numbers() -> None:
    assert bradley_terry(CHOSEN, REJECTED).tolist() == pytest.approx(TRL_REWARD, abs=1e-6)


@pytest.mark.parametrize(
    ("loss_type", "smoothing"), [("sigmoid", 0.0), ("aot", 0.2)], ids=["sigmoid", "smoothed"]
)
def test_dpo_agrees_with_trl_itself(loss_type: str, smoothing: float) -> None:
    for policy, reference in zip(POLICY, REFERENCE, strict=True):
        expected = _trl_dpo(policy, reference, loss_type, smoothing)
        ours = dpo(policy[None], reference[None], beta=0.1, label_smoothing=smoothing)
        torch.testing.assert_close(ours[0], expected)


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 0.4])
def test_exo_pref_agrees_with_trl_itself(epsilon: float) -> None:
    """Value and gradient, on the tensors above and on random ones."""
    noise = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(0))
    policies = torch.cat([POLICY, -30 + 10 * noise[0]])
    references = torch.cat([REFERENCE, -30 + 10 * noise[1]])
    for policy, reference in zip(policies, references, strict=True):
        ours, theirs = policy.clone().requires_grad_(), policy.clone().requires_grad_()
        expected = _trl_dpo(theirs, reference, "exo_pair", epsilon)
        value = exo_pref(ours[None], reference[None], beta_pi=0.1, epsilon=epsilon)[0]
        torch.testing.assert_close(value, expected)
        value.backward()
        expected.backward()
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_bradley_terry_agrees_with_trl_itself() -> None:
    for chosen, rejected in zip(CHOSEN, REJECTED, strict=True):
        expected = _trl_reward(torch.stack([chosen, rejected]))
        torch.testing.assert_close(bradley_terry(chosen, rejected), expected)


def _stand_in(**settings: object) -> SimpleNamespace:
    """What TRL's loss methods read of their trainer, without a model or a data set."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        gather=lambda tensor: tensor,
        gather_for_metrics=lambda tensor: tensor,
        autocast=nullcontext,
    )
    metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    common = {
        "aux_loss_enabled": False,
        "_metrics": metrics,
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(accelerator=accelerator, **common, **settings)


def _trl_dpo(policy: Tensor, reference: Tensor, loss_type: str, smoothing: float) -> Tensor:
    """DPOTrainer's own loss for one pair of sequences of one response token each."""
    trainer = _stand_in(
        model=SimpleNamespace(training=False),
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=0.1,
        label_smoothing=smoothing,
        use_weighting=False,
    )
    column = policy[:, None]
    zeros = torch.zeros_like(column)
    outputs = SimpleNamespace(
        log_probs=column, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
    )
    inputs = {
        "input_ids": torch.ones(2, 2, dtype=torch.long),
        "attention_mask": torch.ones(2, 2, dtype=torch.long),
        "completion_mask": torch.tensor([[0, 1], [0, 1]]),
        "ref_chosen_logps": reference[:1],
        "ref_rejected_logps": reference[1:],
    }
    return trl.DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)


def _trl_reward(rewards: Tensor) -> Tensor:
    """RewardTrainer's own loss for one pair."""
    trainer = _stand_in(
        model=SimpleNamespace(training=False), args=SimpleNamespace(center_rewards_coefficient=None)
    )
    outputs = SimpleNamespace(logits=rewards[:, None])
    inputs = {"attention_mask": torch.ones(2, 2, dtype=torch.long)}
    return trl.RewardTrainer.compute_loss(trainer, lambda **_: outputs, inputs)
