"""The heads of a TQR: where they start, what their weights do, where the spread is held."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.heads import TqrHeads, spread_out
from tasks.objectives.ava import gaussian_kl

MASK = torch.tensor([[[True] * 4, [True] + [False] * 3]])


def states(seed: int = 0) -> torch.Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("std_map", ["exp", "softplus"])
def test_at_first_every_reward_is_the_prior(std_map: str) -> None:
    """Mean 0, deviation 1, divergence 0; and the same new weights for the same seed."""
    config = TqrConfig(rwt=False, std_map=std_map)
    rewards = TqrHeads(config, 8, 20)(states(), MASK)
    assert not rewards.mean.any()
    assert torch.allclose(rewards.log_std, torch.zeros(1, 2, 4), atol=1e-6)
    assert torch.allclose(gaussian_kl(rewards.mean, rewards.log_std), torch.zeros(1), atol=1e-6)
    stream = torch.get_rng_state()
    fresh = [TqrHeads(TqrConfig(ptq=False), 8, 20, seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(fresh[0][name], fresh[1][name]) for name in fresh[0])
    assert not torch.equal(fresh[0]["q_head.weight"], fresh[2]["q_head.weight"])


def test_fresh_weights_are_nearly_uniform_and_have_their_scale() -> None:
    """For states as large as a pretrained model's too, ten times those of a random one."""
    mean1 = TqrHeads(TqrConfig(), 8, 20)(states() * 10, MASK).weights
    assert torch.allclose(mean1[MASK], torch.ones(5), atol=0.1)
    assert not mean1[~MASK].any()
    sum1 = TqrHeads(TqrConfig(rwt_scale="sum1"), 8, 20)(states(), MASK).weights
    assert torch.allclose(sum1.sum(-1), torch.ones(1, 2))


def test_equal_keys_weigh_like_no_weights() -> None:
    heads = TqrHeads(TqrConfig(), 8, 20).drawn_anew()
    plain = TqrHeads(TqrConfig(rwt=False), 8, 20)
    plain.load_state_dict(heads.state_dict(), strict=False)
    torch.nn.init.zeros_(heads.keys.weight)
    ours, theirs = heads(states(), MASK), plain(states(), MASK)
    assert torch.allclose(ours.mean, theirs.mean, atol=1e-6)
    assert torch.allclose(ours.log_std, theirs.log_std, atol=1e-6)


@pytest.mark.parametrize(("scale", "floor"), [("mean1", -3.0), ("sum1", -3 - math.log(4))])
def test_the_spread_is_held_after_weighting(scale: str, floor: float) -> None:
    """Weights that vanish, or a head that runs away, leave finite values and gradients."""
    heads = TqrHeads(TqrConfig(rwt_scale=scale), 8, 20)
    with torch.no_grad():
        heads.queries.weight.copy_(torch.eye(8) * 1e4)
        heads.keys.weight.copy_(torch.eye(8) * 1e4)
    rewards = heads(states(), MASK)
    assert float(rewards.weights.detach()[MASK].min()) == 0
    assert float(rewards.log_std.detach().min()) == pytest.approx(floor)
    sum(part.sum() for part in rewards).backward()
    assert all(part.grad.isfinite().all() for part in heads.parameters())
    with torch.no_grad():
        heads.reward.bias[1] = 50
    assert float(heads(states(), MASK).log_std.detach().max()) == 3


def test_a_key_bias_would_change_nothing() -> None:
    """Which is why there is none: it adds the same to all that one query is compared with."""
    heads = TqrHeads(TqrConfig(), 8, 20).drawn_anew()
    before = heads(states(), MASK).weights
    heads.keys.bias = torch.nn.Parameter(torch.randn(8))
    assert torch.allclose(heads(states(), MASK).weights, before, atol=1e-5)


def test_what_is_spread_out_lies_where_the_mask_is_true() -> None:
    found = spread_out(torch.arange(1.0, 6), MASK)
    assert found.tolist() == [[[1, 2, 3, 4], [5, 0, 0, 0]]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 0}, "alpha"),
        ({"beta": -1}, "beta"),
        ({"q_map": "softmax"}, "q_map"),
        ({"ptq": False, "q_map": "prob"}, "ptq is false, so there is nothing for q_map"),
        ({"ptq": False, "alpha": 2.0}, "nothing for alpha to change"),
        ({"rwt": False, "rwt_scale": "sum1", "detach_rwt": True}, "for rwt_scale, detach_rwt"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TqrConfig(**values)


@pytest.mark.parametrize(
    ("values", "temperature", "weight"),
    [
        ({"alpha": 2.0, "beta": 3.0}, 0.5, 3.0),
        ({"alpha": 5.0, "q_map": "prob"}, 1.0, 1.0),
        ({"ptq": False, "beta": 4.0}, 0.25, 1.0),
    ],
)
def test_the_policy_is_drawn_from_as_it_is_trained(
    values: dict, temperature: float, weight: float
) -> None:
    """Alpha is an inverse temperature; beta is one only of a Q head of its own."""
    config = TqrConfig(**values)
    assert (config.temperature, config.likelihood_weight) == (temperature, weight)


@pytest.mark.parametrize(
    "given", [{}, {"rwt": False}, {"ptq": False}, {"rwt_width": 3}, {"rwt": False, "ptq": False}]
)
def test_a_config_knows_how_many_numbers_there_are(given: dict[str, object]) -> None:
    config = TqrConfig(**given)
    real = sum(one.numel() for one in TqrHeads(config, 8, 20).parameters())
    assert config.numbers(8, 8 * 20) == real
