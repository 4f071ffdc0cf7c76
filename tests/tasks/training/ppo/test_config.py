"""What PPO's settings refuse, and what is derived from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tasks.training.ppo.config import PpoConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"processes": 3, "prompts_per_step": 2}, "3 processes share the 2 prompts_per_step"),
        ({"lora": {}, "trainable_layers": 1}, "give one of them"),
        ({"minibatches": 5, "prompts_per_step": 4}, "minibatches is 5 and prompts_per_step 4"),
        ({"critic_warmup_steps": 9, "total_steps": 9}, "the policy would never learn"),
        (
            {"adaptive_kl": {"horizon": 32}},
            "adaptive_kl.horizon is 32 responses, fewer than the 64",
        ),
        ({"kl_coeff": 0.1}, "did you mean 'kl_coef'?"),
        ({"clip": 0}, "greater than 0"),
        ({"lam": 1.5}, "less than or equal to 1"),
        ({"gamma": 0}, "greater than 0"),
        ({"kl_coef": -1}, "greater than or equal to 0"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(ValidationError, match=words.replace("?", r"\?")):
        PpoConfig(**settings)


def test_responses_are_drawn_from_the_tempered_policy_itself():
    config = PpoConfig(temperature=0.8, samples=3, limits={"max_response_tokens": 20}, stop=("#",))
    sampling = config.sampling()
    assert (sampling.temperature, sampling.samples, sampling.max_new_tokens) == (0.8, 3, 20)
    assert (sampling.top_k, sampling.top_p, sampling.stop) == (0, 1.0, ("#",))


def test_both_optimisers_share_all_but_the_rate():
    config = PpoConfig(
        max_grad_norm=0.5,
        lr_scheduler="linear",
        precision="fp32",
        processes=2,
        deepspeed="zero2",
        gradient_checkpointing=True,
        lora={"rank": 2},
    )
    one, two = config.optimiser(1e-3), config.optimiser(1e-2)
    assert one.model_copy(update={"learning_rate": 1e-2}) == two
    assert (one.max_grad_norm, one.lr_scheduler, one.precision) == (0.5, "linear", "fp32")
    assert (one.processes, one.deepspeed, one.gradient_checkpointing) == (2, "zero2", True)
    assert one.lora == config.lora and one.lora.rank == 2


def test_the_papers_numbers_are_the_defaults():
    config = PpoConfig()
    assert (config.clip, config.value_clip, config.gamma, config.lam) == (0.2, 0.2, 1.0, 0.95)
    assert config.kl_coef == 0.1 and config.adaptive_kl is None
