"""When test samples follow the policy itself, and what is drawn where they do not."""

from __future__ import annotations

import pytest

from flows.configs.apo_evaluation import ApoEvaluation
from tasks.models.sampling.config import SamplingConfig

UNTRUNCATED = SamplingConfig(samples=2, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=9)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"temperature": 0.9}, False),
        ({"top_k": 5}, False),
        ({"top_p": 0.99}, False),
        ({"samples": 1}, True),
    ],
)
def test_untruncated_means_the_policys_own_distribution(
    change: dict[str, float], expected: bool
) -> None:
    sampling = UNTRUNCATED.model_copy(update=change)
    assert ApoEvaluation(sampling=sampling).is_untruncated is expected


def test_the_default_is_apos_release_and_needs_draws_of_its_own_for_the_kl() -> None:
    config = ApoEvaluation()
    assert not config.is_untruncated
    draws = config.draws()
    assert (draws.temperature, draws.top_k, draws.top_p) == (0.3, 5, 0.85)
    for_kl = config.draws(for_kl=True)
    assert (for_kl.temperature, for_kl.top_k, for_kl.top_p) == (1.0, 0, 1.0)
    assert for_kl.samples == config.kl_samples == 4
    assert for_kl.max_new_tokens == draws.max_new_tokens == 256
    assert ApoEvaluation(sampling=for_kl).is_untruncated


def test_one_set_of_samples_serves_both_where_it_can() -> None:
    config = ApoEvaluation(sampling=UNTRUNCATED, kl_samples=7)
    assert config.draws(for_kl=True) == config.draws() == UNTRUNCATED
