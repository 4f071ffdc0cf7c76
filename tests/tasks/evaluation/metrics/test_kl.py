"""KL from the policy's own samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.data.groups import Group, Message
from tasks.evaluation.metrics.kl import kl_to_reference, sampled_logps
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.tokenizer import train_tokenizer


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


def test_the_type_in_which_weights_are_kept_is_no_distance(tmp_path: Path) -> None:
    """A base model is often kept in bfloat16, and what is trained from it in float32."""
    tokenizer = train_tokenizer(iter(["p one two"]), 260, tmp_path / "tokenizer")
    shape = ArchitectureConfig(hidden_size=16, layers=2, heads=2, context=64)
    model = build_policy(shape, tokenizer, 0).bfloat16()
    save_model(model, tokenizer, tmp_path / "start", "plain")
    save_model(model.float(), tokenizer, tmp_path / "policy", "plain")
    group = Group((Message("user", "p"),), ("one two", "two"))
    found = [
        sampled_logps(tmp_path / name, [group], "plain", Limits(), temperature=1.0)
        for name in ("start", "policy")
    ]
    assert found[0] == found[1]
