"""Many groups through a model: the same numbers as one response at a time, within the budget."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from tasks.models.groups.group_model import GroupPolicy
from tasks.models.padded_batches import collate
from tasks.models.policy import sequence_logps
from tasks.models.scoring.passes import response_values, row_tokens
from tasks.models.tokens.encoding import EncodedGroup


def groups(count: int = 9) -> list[EncodedGroup]:
    """Ragged ones; the third has no response."""
    chance = random.Random(0)

    def ids(most: int) -> list[int]:
        return [chance.randint(5, 60) for _ in range(chance.randint(1, most))]

    found = []
    for number in range(count):
        responses = [ids(9) for _ in range(0 if number == 2 else chance.randint(1, 5))]
        found.append(EncodedGroup(ids(12), responses, False, [False] * len(responses)))
    return found


def alone(model: Any, group: EncodedGroup) -> list[float]:
    """Each response in a batch of its own."""
    single = [EncodedGroup(group.prompt_ids, [r], False, [False]) for r in group.responses_ids]
    with torch.no_grad():
        return [float(sequence_logps(model, collate([one], 0), 0.9)) for one in single]


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "plain"])
@pytest.mark.parametrize("budget", [3, 30, 10_000])
def test_every_number_as_if_alone(build: Any, shared: bool, budget: int) -> None:
    model, data = build("llama"), groups()
    expected = [alone(model, group) for group in data]
    policy = GroupPolicy(model, temperature=0.9)
    if not shared:
        policy.take_plain_path("to be compared")
    found = response_values(policy, data, 0, budget)
    assert list(map(len, found)) == [len(group.responses_ids) for group in data]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_no_pass_is_larger_than_the_budget_allows(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 tokens hold the longest prompt with one response, so no row needs more."""
    policy, sizes = GroupPolicy(build("llama")), []
    real = GroupPolicy.batch

    def batch(self: Any, given: Any, pad_id: int) -> Any:
        sizes.append(sum(row_tokens(group, shared=True) for group in given))
        return real(self, given, pad_id)

    monkeypatch.setattr(GroupPolicy, "batch", batch)
    response_values(policy, groups(), 0, 30)
    assert max(sizes) <= 30 and len(sizes) > 3


def test_tokens_of_a_row() -> None:
    """By hand: 3 + 1 + 4 shared; two rows of 3 + 4 else."""
    group = EncodedGroup([1, 2, 3], [[4], [5, 6, 7, 8]], False, [False, False])
    assert row_tokens(group, shared=True) == 8
    assert row_tokens(group, shared=False) == 14
