"""Log-probabilities token by token, as PPO needs them."""

from __future__ import annotations

import pytest
import torch

from tasks.models.groups.group_model import GroupPolicy
from tests.tasks.models import families
from tests.tasks.models.families import PAD, group

GROUPS = [group(7, [3, 1, 12], 1), group(1, [5], 2), group(11, [4, 4, 2], 3)]


@pytest.mark.parametrize("family", ["gpt2", "gemma2", *families.TWO_SIDED])
def test_a_responses_tokens_sum_to_it_and_stand_in_its_order(family: str) -> None:
    """Whichever way the groups are computed."""
    policy = GroupPolicy(families.build(family, "ForCausalLM"), temperature=0.7)
    lengths = [len(ids) for one in GROUPS for ids in one.responses_ids]
    found = []
    for way in ("grouped", None):
        policy._use(way)  # type: ignore[arg-type]
        batch = policy.batch(GROUPS, PAD)
        tokens = policy.token_logps(batch)
        sums = torch.stack([part.sum() for part in tokens.split(lengths)])
        torch.testing.assert_close(sums, policy(batch)[batch.mask])
        found.append(tokens)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
