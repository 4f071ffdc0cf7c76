"""Theorems 3.1 to 3.3 of EXO by enumeration, on 64 responses that can be listed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tasks.objectives.dpo import dpo_rw
from tasks.objectives.exo import alignment_objective, blended_logps, exo_rw, optimal_logps

BETAS = [(1.0, 0.5), (0.5, 0.1), (0.1, 0.1), (2.0, 3.0)]


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# pi_ref(y) = n_y / sum n: each response repeated n_y times is K -> infinity; listing each once is
# another proposal.
COUNTS = torch.randint(1, 10, (64,), generator=torch.Generator().manual_seed(0))
REFERENCE = (COUNTS / COUNTS.sum().double()).double().log()[None]
REWARDS = drawn(11, 1, len(COUNTS))


def _gradient(logits: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient by the logits of a tabular policy of a function of its log-probabilities."""
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf.log_softmax(-1)).sum(), leaf)[0]


def _forward(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log-probabilities."""
    return (p.exp() * (p - q)).sum(-1)


def _targets(beta_pi: float, beta_r: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """The divergence that each loss approaches, as a function of the policy's logps."""
    optimum = optimal_logps(REFERENCE, REWARDS, beta=beta_r)

    def blend(policy: Tensor) -> Tensor:
        return blended_logps(policy, REFERENCE, beta_pi=beta_pi)

    return {
        "exo_rw": lambda policy: _forward(blend(policy), optimum),
        "dpo_rw": lambda policy: _forward(optimum, blend(policy)),
    }


LOSSES = {"exo_rw": exo_rw, "dpo_rw": dpo_rw}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("beta_pi", "beta_r"), BETAS)
def test_theorems_3_2_and_3_3_by_enumeration(name: str, beta_pi: float, beta_r: float) -> None:
    """The gradient is that of KL(blend || optimum) for EXO, of KL(optimum || blend) for DPO-rw."""
    logits = drawn(3, 1, len(COUNTS))
    repeated = torch.repeat_interleave(torch.arange(len(COUNTS)), COUNTS)

    def over_samples(policy: Tensor) -> Tensor:
        each = (t[:, repeated] for t in (policy, REFERENCE, REWARDS))
        return LOSSES[name](*each, beta_pi=beta_pi, beta_r=beta_r)

    exact = _gradient(logits, _targets(beta_pi, beta_r)[name])
    torch.testing.assert_close(_gradient(logits, over_samples), exact, atol=1e-9, rtol=0)
    once = _gradient(
        logits, lambda p: LOSSES[name](p, REFERENCE, REWARDS, beta_pi=beta_pi, beta_r=beta_r)
    )
    assert (once - exact).abs().max() > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_the_error_falls_as_more_responses_are_drawn(name: str) -> None:
    """With K drawn from pi_ref, the mean gradient over 2,000 draws nears the exact one."""
    beta_pi, beta_r, draws = 0.5, 0.5, 2000
    logits = drawn(3, 1, len(COUNTS))
    exact = _gradient(logits, _targets(beta_pi, beta_r)[name])
    generator = torch.Generator().manual_seed(0)
    errors = []
    for responses in (2, 8, 32, 128):
        columns = torch.multinomial(
            REFERENCE.exp().expand(draws, -1), responses, replacement=True, generator=generator
        )

        def over_samples(policy: Tensor, columns: Tensor = columns) -> Tensor:
            each = (t.expand(draws, -1).gather(1, columns) for t in (policy, REFERENCE, REWARDS))
            return LOSSES[name](*each, beta_pi=beta_pi, beta_r=beta_r).mean()

        errors.append(float((_gradient(logits, over_samples) - exact).norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize(("beta_pi", "beta_r"), BETAS)
def test_exo_climbs_the_alignment_objective(beta_pi: float, beta_r: float) -> None:
    """Theorem 3.2, second half: grad KL(blend || optimum) = -grad J / beta_r; a loop makes J."""
    logits = drawn(5, 1, len(COUNTS))
    blend = blended_logps(logits.log_softmax(-1), REFERENCE, beta_pi=beta_pi)[0].tolist()
    expected = sum(
        math.exp(b) * (float(REWARDS[0, y]) - beta_r * (b - float(REFERENCE[0, y])))
        for y, b in enumerate(blend)
    )

    def objective(policy: Tensor) -> Tensor:
        return alignment_objective(policy, REFERENCE, REWARDS, beta_pi=beta_pi, beta_r=beta_r)

    assert objective(logits.log_softmax(-1)).item() == pytest.approx(expected, rel=1e-9)
    divergence = _gradient(logits, _targets(beta_pi, beta_r)["exo_rw"])
    torch.testing.assert_close(divergence, -_gradient(logits, objective) / beta_r)


@pytest.mark.parametrize(("beta_pi", "beta_r"), BETAS)
def test_the_optimum_maximises_the_objective(beta_pi: float, beta_r: float) -> None:
    """Theorem 3.1: with beta = beta_pi beta_r; every step away from it loses."""
    best = optimal_logps(REFERENCE, REWARDS, beta=beta_pi * beta_r)

    def objective(policy: Tensor) -> Tensor:
        return alignment_objective(policy, REFERENCE, REWARDS, beta_pi=beta_pi, beta_r=beta_r)

    torch.testing.assert_close(_gradient(best, objective), torch.zeros_like(best))
    for seed in range(20):
        other = (best + 0.1 * drawn(seed, *best.shape)).log_softmax(-1)
        assert objective(other) < objective(best)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("beta_pi", "beta_r"), [(1.0, 0.5), (0.5, 1.0)])
def test_a_tabular_policy_converges_to_the_optimum(name, beta_pi: float, beta_r: float) -> None:
    """Identity 5, first half: both reach pi* of beta = beta_pi beta_r, to 1e-6 in total variation.

    16 groups with each response once and 16 of them once more.
    """
    generator = torch.Generator().manual_seed(1)
    shape = 16, 16
    drawn_columns = torch.randint(len(COUNTS), shape, generator=generator)
    columns = torch.cat([torch.arange(len(COUNTS)).expand(16, -1), drawn_columns], dim=1)
    logits = REFERENCE.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits],
        max_iter=300,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        policy = logits.log_softmax(-1)
        each = (t.expand(16, -1).gather(1, columns) for t in (policy, REFERENCE, REWARDS))
        loss = LOSSES[name](*each, beta_pi=beta_pi, beta_r=beta_r).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    optimum = optimal_logps(REFERENCE, REWARDS, beta=beta_pi * beta_r)
    distance = (logits.detach().softmax(-1) - optimum.exp()).abs().sum() / 2
    assert distance < 1e-6
