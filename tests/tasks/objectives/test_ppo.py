"""PPO's parts against slow versions of themselves, and together against finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.ppo import (
    generalized_advantages,
    masked_mean,
    next_kl_coef,
    ppo_policy_loss,
    ppo_value_loss,
    probability_ratio,
    token_rewards,
    whiten,
)

LENGTHS = (3, 1, 4, 0)
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]


def _random(*names: str, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(MASK.shape, generator=generator, dtype=torch.float64) for _ in names]


def test_token_rewards_by_hand() -> None:
    """Minus 0.1 · (log pi − log ref) everywhere, plus the score at the last token of each row.

    Row 1: −0.1 · (−1 + 3) = −0.2; −0.1 · (−2 + 1) = 0.1; the score 5 at the second.
    Row 2: −0.1 · (−1 + 1) + 7 = 7 at its only token.
    """
    logps = torch.tensor([[-1.0, -2.0], [-1.0, math.nan]])
    reference = torch.tensor([[-3.0, -1.0], [-1.0, math.inf]])
    mask = torch.tensor([[True, True], [True, False]])
    found = token_rewards(torch.tensor([5.0, 7.0]), logps, reference, mask, kl_coef=0.1)
    torch.testing.assert_close(found, torch.tensor([[-0.2, 5.1], [7.0, 0.0]]))


def test_a_response_without_tokens_gets_no_reward() -> None:
    logps, reference = _random("logps", "reference")
    found = token_rewards(torch.ones(4), logps, reference, MASK, kl_coef=0.0)
    assert found.sum(dim=1).tolist() == [1.0, 1.0, 1.0, 0.0]


def _slow_advantages(
    rewards: Tensor, values: Tensor, lengths: tuple[int, ...], gamma: float, lam: float
) -> Tensor:
    """Eq. 16 as printed: the sum over all later steps of (gamma · lam)^l · delta."""
    found = torch.zeros_like(rewards)
    for row, length in enumerate(lengths):
        for start in range(length):
            for later in range(start, length):
                after = values[row, later + 1] if later + 1 < length else 0.0
                delta = rewards[row, later] + gamma * after - values[row, later]
                found[row, start] += (gamma * lam) ** (later - start) * delta
    return found


@given(gamma=st.floats(0.1, 1.0), lam=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_advantages_agree_with_the_sum(gamma: float, lam: float, seed: int) -> None:
    rewards, values = _random("rewards", "values", seed=seed)
    advantages, returns = generalized_advantages(rewards, values, MASK, gamma=gamma, lam=lam)
    expected = _slow_advantages(rewards, values, LENGTHS, gamma, lam)
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.where(MASK, expected + values, 0.0))


def test_lambda_one_gives_what_came_minus_what_was_expected() -> None:
    rewards, values = _random("rewards", "values")
    advantages, returns = generalized_advantages(rewards, values, MASK, gamma=1.0, lam=1.0)
    to_go = torch.where(MASK, rewards, 0.0).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns[MASK], to_go[MASK])
    torch.testing.assert_close(advantages[MASK], (to_go - values)[MASK])


@pytest.mark.parametrize("junk", [math.inf, -math.inf, math.nan])
def test_nothing_outside_the_mask_moves_an_advantage(junk: float) -> None:
    rewards, values = _random("rewards", "values")
    clean = generalized_advantages(rewards, values, MASK, gamma=0.9, lam=0.8)
    dirty = [tensor.masked_fill(~MASK, junk) for tensor in (rewards, values)]
    before = [tensor.clone() for tensor in dirty]
    found = generalized_advantages(*dirty, MASK, gamma=0.9, lam=0.8)
    assert all(torch.equal(one, two) for one, two in zip(clean, found, strict=True))
    assert all((part[~MASK] == 0).all() for part in found)
    for tensor, kept in zip(dirty, before, strict=True):
        torch.testing.assert_close(tensor, kept, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty_advantages(shape: tuple[int, int]) -> None:
    empty, mask = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    advantages, returns = generalized_advantages(empty, empty, mask, gamma=1.0, lam=0.9)
    assert advantages.shape == returns.shape == shape


def test_what_is_no_prefix_or_no_number_is_refused() -> None:
    values, gaps = torch.zeros(1, 3), torch.tensor([[True, False, True]])
    with pytest.raises(ValueError, match="prefix"):
        generalized_advantages(values, values, gaps, gamma=1.0, lam=1.0)
    with pytest.raises(ValueError, match="prefix"):
        token_rewards(torch.zeros(1), values, values, gaps, kl_coef=0.1)
    for gamma, lam in ((0.0, 0.5), (1.1, 0.5), (1.0, -0.1), (1.0, math.nan)):
        with pytest.raises(ValueError, match="gamma"):
            generalized_advantages(values, values, values == 0, gamma=gamma, lam=lam)
    with pytest.raises(ValueError, match="differ in B"):
        token_rewards(torch.zeros(2), values, values, values == 0, kl_coef=0.1)
    with pytest.raises(ValueError, match="kl_coef"):
        token_rewards(torch.zeros(1), values, values, values == 0, kl_coef=-1.0)


def test_the_policy_loss_by_hand() -> None:
    """Ratios 2, 0.5, 2, 0.5 with advantages 1, 1, −1, −1 and clip 0.2.

    Gains stop at 1.2; losses stop at 0.8: min(2, 1.2) + min(0.5, 0.8) − max(2, 1.2) −
    max(0.5, 0.8) = 1.2 + 0.5 − 2 − 0.8 = −1.1; minus its mean is 0.275.
    """
    new = torch.tensor([[2.0, 0.5, 2.0, 0.5]]).log()
    gains = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    loss = ppo_policy_loss(new, torch.zeros(1, 4), gains, mask, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor(0.275))


def test_the_value_loss_by_hand() -> None:
    """Old 0, clip 0.2. Value 1, return 1: held at 0.2, (0.8)² is larger than 0. Value 1, return −1:
    2² is larger than 1.2². Half the mean of 0.64 and 4 is 1.16.
    """
    values, old = torch.ones(1, 2), torch.zeros(1, 2)
    mask = torch.ones(1, 2, dtype=torch.bool)
    loss = ppo_value_loss(values, old, torch.tensor([[1.0, -1.0]]), mask, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor(1.16))
    free = ppo_value_loss(values, old, torch.tensor([[1.0, -1.0]]), mask, clip=math.inf)
    torch.testing.assert_close(free, torch.tensor(1.0))


@pytest.mark.parametrize("loss", [ppo_policy_loss, ppo_value_loss])
def test_micro_batches_add_up_to_the_step(loss: object) -> None:
    tensors = _random("new", "old", "wanted")
    whole = loss(*tensors, MASK, clip=0.2)
    counts = int(MASK.sum())
    rows = (slice(0, 1), slice(1, 4))
    parts = [loss(*(t[r] for t in tensors), MASK[r], clip=0.2, counts=counts) for r in rows]
    torch.testing.assert_close(sum(parts), whole)
    with pytest.raises(ValueError, match="counts are 7"):
        loss(*tensors, MASK, clip=0.2, counts=7)
    with pytest.raises(ValueError, match="clip must be positive"):
        loss(*tensors, MASK, clip=0.0)


def test_the_loss_of_nothing_is_zero() -> None:
    tensors, nothing = _random("new", "old", "wanted"), torch.zeros_like(MASK)
    for loss in (ppo_policy_loss, ppo_value_loss):
        assert loss(*tensors, nothing, clip=0.2) == 0


def test_a_huge_ratio_still_pulls_back() -> None:
    """Far away with a negative advantage, the loss is finite and its slope leads back."""
    new = torch.full((1, 1), 1e4, requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bool)
    loss = ppo_policy_loss(new, torch.zeros(1, 1), -torch.ones(1, 1), one, clip=0.2)
    loss.backward()
    assert loss.isfinite() and new.grad is not None and new.grad.isfinite() and new.grad > 0
    below = probability_ratio(torch.tensor([[19.0]]), torch.zeros(1, 1), one)
    torch.testing.assert_close(below, torch.tensor([[19.0]]).exp())


@given(shift=st.floats(-5, 5), scale=st.floats(0.1, 10), keep=st.booleans())
def test_whitening(shift: float, scale: float, keep: bool) -> None:
    values = _random("values")[0] * scale + shift
    white = whiten(values.masked_fill(~MASK, math.nan), MASK, shift_mean=not keep)
    mean = masked_mean(values, MASK)
    torch.testing.assert_close(white[MASK].mean(), mean if keep else torch.zeros_like(mean))
    variance = white[MASK].var(correction=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-4, atol=0)
    assert (white[~MASK] == 0).all()


def test_whitening_what_does_not_vary() -> None:
    same = torch.full((1, 3), 2.5)
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert whiten(same, mask).tolist() == [[0.0, 0.0, 0.0]]
    assert whiten(same, mask, shift_mean=False).tolist() == [[2.5, 2.5, 2.5]]


def test_the_controller_goes_towards_its_target() -> None:
    """A fifth of n / horizon at most, however far the KL is from its target."""
    settings = {"target": 6.0, "horizon": 1000.0, "responses": 100}
    assert next_kl_coef(0.1, 6.0, **settings) == 0.1
    assert next_kl_coef(0.1, 600.0, **settings) == pytest.approx(0.1 * 1.02)
    assert next_kl_coef(0.1, -600.0, **settings) == pytest.approx(0.1 * 0.98)
    assert next_kl_coef(0.1, 6.6, **settings) == pytest.approx(0.1 * 1.01)
    with pytest.raises(ValueError, match="target"):
        next_kl_coef(0.1, 1.0, target=0.0, horizon=1.0, responses=1)


class Tabular:
    """Responses over {0: end, 1, 2} of at most three tokens, with a distribution per prefix.

    Every probability is a quarter or a half, so that 64 responses, each repeated in proportion, are
    the policy's own distribution exactly.
    """

    STEPS = 3

    def __init__(self) -> None:
        prefixes = [p for n in range(self.STEPS) for p in itertools.product((1, 2), repeat=n)]
        self.states = {prefix: number for number, prefix in enumerate(prefixes)}
        quarters = [(1, 1, 2), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 1), (1, 1, 2), (1, 2, 1)]
        self.logits = (torch.tensor(quarters, dtype=torch.float64) / 4).log()
        self.responses = [
            response
            for n in range(1, self.STEPS + 1)
            for head in itertools.product((1, 2), repeat=n - 1)
            for response in ([(*head, 0)] if n < self.STEPS else [(*head, t) for t in range(3)])
        ]

    def token_logps(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of every token of every response, and the mask. Shapes (R, 3)."""
        logps, mask = logits.log_softmax(dim=-1), torch.zeros(len(self.responses), 3, dtype=bool)
        rows = []
        for row, response in enumerate(self.responses):
            mask[row, : len(response)] = True
            tokens = [logps[self.states[response[:t]], token] for t, token in enumerate(response)]
            rows.append(torch.stack(tokens + [logps.new_zeros(())] * (3 - len(tokens))))
        return torch.stack(rows), mask

    def objective(self, logits: Tensor, scores: Tensor, reference: Tensor, beta: float) -> Tensor:
        """E[score] − beta · KL(pi ‖ reference), exactly."""
        logps = self.token_logps(logits)[0].sum(dim=1)
        gap = logps - self.token_logps(reference)[0].sum(dim=1)
        return (logps.exp() * (scores - beta * gap)).sum()


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_without_clipping_it_is_the_policy_gradient_with_a_baseline(beta: float) -> None:
    """Identity 9: clip ∞, one pass, lambda 1, any critic, against central differences."""
    world, generator = Tabular(), torch.Generator().manual_seed(3)
    scores = torch.randn(len(world.responses), generator=generator, dtype=torch.float64)
    reference = torch.randn(world.logits.shape, generator=generator, dtype=torch.float64)
    critic = torch.randn(len(world.states), generator=generator, dtype=torch.float64)

    logits = world.logits.clone().requires_grad_()
    logps, mask = world.token_logps(logits)
    repeats = (64 * logps.detach().sum(dim=1).exp()).round().long()
    assert repeats.sum() == 64
    values = torch.zeros_like(logps)
    for row, response in enumerate(world.responses):
        for t in range(len(response)):
            values[row, t] = critic[world.states[response[:t]]]

    def drawn(tensor: Tensor) -> Tensor:
        return tensor.repeat_interleave(repeats, dim=0)

    given_reference = world.token_logps(reference)[0]
    rewards = token_rewards(
        drawn(scores), drawn(logps).detach(), drawn(given_reference), drawn(mask), kl_coef=beta
    )
    advantages, _ = generalized_advantages(
        rewards, drawn(values).detach(), drawn(mask), gamma=1.0, lam=1.0
    )
    new = drawn(logps)
    loss = ppo_policy_loss(new, new.detach(), advantages, drawn(mask), clip=math.inf, counts=None)
    loss.backward()
    # The loss is a mean over tokens, the objective one over responses.
    found = -logits.grad * int(drawn(mask).sum()) / 64

    expected, step = torch.zeros_like(found), 1e-5
    for place in itertools.product(*map(range, found.shape)):
        ends = []
        for sign in (1, -1):
            moved = world.logits.clone()
            moved[place] += sign * step
            ends.append(world.objective(moved, scores, reference, beta))
        expected[place] = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert expected.abs().max() > 0.05
