"""KL from the policy's own samples."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.metrics.kl import kl_to_reference


def test_by_hand() -> None:
    """Differences {1, 3} and {-1}: mean 1; cluster sums of deviations 2 and -2: sqrt(16) / 3."""
    kl = kl_to_reference([[-1.0, -2.0], [-5.0]], [[-2.0, -5.0], [-4.0]])
    assert kl.value == pytest.approx(1)
    assert kl.standard_error == pytest.approx(4 / 3)


def test_is_zero_for_the_reference_itself() -> None:
    kl = kl_to_reference([[-1.0, -2.0], [-3.0]], [[-1.0, -2.0], [-3.0]])
    assert (kl.value, kl.standard_error) == (0, 0)


def test_agrees_with_the_exact_divergence() -> None:
    """Two categorical policies: the estimate lies within 4 of its own errors of the exact KL."""
    policy, reference = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.3, 0.4])
    exact = float((policy * np.log(policy / reference)).sum())
    draws = np.random.default_rng(0).choice(3, size=(2000, 4), p=policy)
    kl = kl_to_reference(np.log(policy)[draws], np.log(reference)[draws])
    assert abs(kl.value - exact) < 4 * kl.standard_error < 0.1


def test_completions_must_match() -> None:
    with pytest.raises(ValueError, match="2 completions of 1 prompts"):
        kl_to_reference([[-1.0, -2.0]], [[-1.0]])
