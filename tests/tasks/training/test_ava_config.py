"""The weights of AVA's losses: their bounds, and what is left of them without a part."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tasks.objectives.ava import AvaTerms, ava_d, ava_p
from tasks.training.ava_config import AvaWeights


def test_lambda_above_the_prior_is_refused_with_the_reason_unless_forced() -> None:
    with pytest.raises(ValidationError, match="lam is 1.2 and c_kl 1: .*unbounded below"):
        AvaWeights(lam=1.2)
    assert AvaWeights(lam=1.2, allow_unbounded=True).lam == 1.2
    assert AvaWeights(lam=1.2, c_kl=1.2).lam == 1.2


@pytest.mark.parametrize("gamma", [-0.01, 1.01])
def test_a_discount_is_from_0_to_1(gamma: float) -> None:
    with pytest.raises(ValidationError, match="gamma"):
        AvaWeights(gamma=gamma)


def test_what_is_left_without_a_part() -> None:
    """`neg`: AVA-d of the chosen side. `irl`: the likelihoods, -mean⁺ + mean⁻ = 1 - 2."""
    ones, real = torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool)
    chosen = AvaTerms(2 * ones, ones, -ones, ones, 0 * ones, real, real)
    rejected = chosen._replace(log_lik=-2 * ones)

    def loss(weights: AvaWeights) -> float:
        names = {"gamma", "lam", "c_kl", "b_neg", "irl_on", "neg_guard"}
        given = weights.model_dump(include=names)
        return ava_p(chosen, rejected, vocab_size=50, **given).item()

    whole = AvaWeights()
    expected = ava_d(*chosen, gamma=whole.gamma, lam=whole.lam).item()
    assert loss(whole.without("neg")) == pytest.approx(expected)
    assert loss(whole.without("irl")) == pytest.approx(-1.0)
    assert whole.without("cer") == AvaWeights(c_cer=0.0)
