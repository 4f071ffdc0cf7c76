"""credit: the numbers of a step by hand, and the same however its responses are packed."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest
import torch

from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.experience import Experience, assign_credit, in_rows


def _experience(lengths: list[int], **given: list[float]) -> Experience:
    """Responses without a layout: credit does not look at tokens' ids."""
    size = sum(lengths)
    flat = {name: torch.tensor(given.get(name, [0.0] * size)) for name in _FLAT}
    return Experience(
        of_actor=cast(Any, None),
        of_critic=cast(Any, None),
        lengths=torch.tensor(lengths),
        scores=torch.tensor(given.get("scores", [0.0] * len(lengths))),
        ended=torch.tensor(given.get("ended", [True] * len(lengths))),
        advantages=torch.zeros(0),
        returns=torch.zeros(0),
        **flat,
    )


_FLAT = ("logps", "reference_logps", "values")
PLAIN = PpoConfig(whiten_advantages=False, lam=1.0)


def test_credit_by_hand():
    """Two responses of 2 and 1 tokens; the KL costs 0.5 per nat, a missing end 1 point.

    log pi − log ref is 1, 0 and −2, so the penalties are −0.5, 0 and 1. The first response scored
    3: its rewards −0.5, 3 make returns 2.5, 3. The second scored 4 and did not end: 1 + 4 − 1 = 4.
    """
    e = _experience(
        [2, 1],
        logps=[-1.0, -2.0, -3.0],
        reference_logps=[-2.0, -2.0, -1.0],
        values=[0.5, 1.0, 1.0],
        scores=[3.0, 4.0],
        ended=[True, False],
    )
    config = PLAIN.model_copy(update={"missing_eos_penalty": 1.0})
    metrics = assign_credit([e], config, 0.5)
    torch.testing.assert_close(e.returns, torch.tensor([2.5, 3.0, 4.0]))
    torch.testing.assert_close(e.advantages, torch.tensor([2.0, 2.0, 3.0]))
    assert metrics == pytest.approx(
        {
            "objective/kl": (1 - 2) / 2,
            "objective/entropy": (3 + 3) / 2,
            "objective/scores": 3.5,
            "objective/non_score_reward": (-0.5 + 1 - 1) / 2,
            "objective/rlhf_reward": (2.5 + 4) / 2,
            "val/num_eos_tokens": 1.0,
            "val/ended_share": 0.5,
            "val/mean_tokens": 1.5,
        }
    )


@pytest.mark.parametrize("settings", [{}, {"whiten_rewards": True}, {"whiten_advantages": False}])
def test_how_responses_are_packed_does_not_count(settings):
    lengths, generator = [3, 1, 2], torch.Generator().manual_seed(0)
    flat = {name: torch.randn(6, generator=generator).tolist() for name in _FLAT}
    scores = [1.0, -2.0, 0.5]
    whole = _experience(lengths, scores=scores, **flat)
    parts = [
        _experience(
            lengths[a:b],
            scores=scores[a:b],
            **{name: values[sum(lengths[:a]) : sum(lengths[:b])] for name, values in flat.items()},
        )
        for a, b in ((0, 1), (1, 3))
    ]
    config = PpoConfig(**settings)
    one, two = assign_credit([whole], config, 0.1), assign_credit(parts, config, 0.1)
    assert one == pytest.approx(two)
    for name in ("advantages", "returns"):
        found = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(found, getattr(whole, name))
    if config.whiten_advantages:
        torch.testing.assert_close(whole.advantages.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
        torch.testing.assert_close(whole.advantages.var(correction=0), torch.tensor(1.0))


def test_nothing_that_was_noted_is_changed():
    e = _experience([2, 2], logps=[-1.0] * 4, scores=[1.0, 2.0])
    before = {f.name: getattr(e, f.name) for f in dataclasses.fields(e)}
    copies = {n: v.clone() for n, v in before.items() if isinstance(v, torch.Tensor)}
    assign_credit([e], PpoConfig(whiten_rewards=True), 0.1)
    for name in ("logps", "reference_logps", "values", "scores", "lengths"):
        assert getattr(e, name) is before[name] and torch.equal(before[name], copies[name])


def test_rows_hold_what_stood_behind_each_other():
    rows, mask = in_rows(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1, 3]))
    assert rows.tolist() == [[1, 0, 0], [2, 3, 4]]
    assert torch.equal(rows[mask], torch.tensor([1.0, 2.0, 3.0, 4.0]))
