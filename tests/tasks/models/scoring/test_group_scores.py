"""Whole data sets: the same numbers as group by group, in the given order."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import group_tokens
from tasks.models.loading import save_model
from tasks.models.padded_batches import collate
from tasks.models.policy import sequence_logps
from tasks.models.reward_model import load_reward_model, rewards
from tasks.models.scoring import group_scores
from tasks.models.scoring.group_scores import logps_groups, response_values, score_groups
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tests.tasks.models.random_heads import random_reward_model

LIMITS = Limits()


def many() -> list[Group]:
    return [
        Group((Message("user", "word " * (n % 7) + "?"),), tuple("ab" * k for k in range(n % 4)))
        for n in range(23)
    ]


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_logps_in_order_whatever_the_batch(
    build: Any, tokenizer: Any, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_scores, "_WINDOW", 10)  # three windows
    model, groups = build("gpt2").train(), many()
    found = logps_groups(
        model, tokenizer, "hh", iter(groups), LIMITS, batch_tokens, temperature=0.8
    )
    assert model.training
    assert list(map(len, found)) == [len(group.responses) for group in groups]
    model.eval()
    for group, row in zip(groups, found, strict=True):
        if row:
            batch = collate([encode_group(tokenizer, "hh", group, LIMITS)], 0)
            expected = sequence_logps(model, batch, 0.8)[0].tolist()
            assert row == pytest.approx(expected, abs=1e-4)


def test_reward_model_reads_the_text_with_its_own_tokenizer_and_template(
    build: Any, tokenizer: Any, texts: list[str], tmp_path: Path
) -> None:
    """The reward model's folder alone suffices; the policy's tokenizer has no part in it."""
    other = train_tokenizer(iter(texts[:5]), 280, tmp_path / "other")
    from tasks.models.architecture import ArchitectureConfig, build_policy

    shape = ArchitectureConfig(hidden_size=16, layers=1, heads=2, context=256)
    save_model(build_policy(shape, other, 4), other, tmp_path / "backbone", "alpaca")
    model = random_reward_model(tmp_path / "backbone", other, 0)
    save_model(model, other, tmp_path / "reward", "alpaca")
    model, own = load_reward_model(tmp_path / "reward"), load_tokenizer(tmp_path / "reward")
    groups = many()[:8]
    found = score_groups(model, own, None, groups, LIMITS)
    for group, row in zip(groups, found, strict=True):
        if row:
            encoded = encode_group(other, "alpaca", group, LIMITS)
            with torch.no_grad():
                expected = rewards(model, collate([encoded], other.pad_token_id))[0].tolist()
            assert row == pytest.approx(expected, abs=1e-4)
    assert found == score_groups(model, own, "alpaca", groups, LIMITS)
    assert len(own) != len(tokenizer)


def test_a_response_scores_alike_whatever_stands_beside_it(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """A long sibling does not cost a short response the beginning of its prompt."""
    save_model(build(), tokenizer, tmp_path / "policy", "hh")
    model = random_reward_model(tmp_path / "policy", tokenizer, 0)
    prompt = (Message("user", "what is 1 plus 2 plus 3 plus 4 plus 5?"),)
    long = "it is 7, and so"
    together, cut = Group(prompt, ("7", long)), Counter[str]()
    ids = encode_group(tokenizer, "hh", together, LIMITS)
    most = len(ids.prompt_ids) + len(ids.responses_ids[0])
    limits = Limits(max_tokens=most, on_long_response="truncate_without_eos")
    (found,) = score_groups(model, tokenizer, "hh", [together], limits, cut=cut)
    alone = [Group(prompt, (text,)) for text in together.responses]
    expected = score_groups(model, tokenizer, "hh", alone, limits)
    assert found == pytest.approx([row[0] for row in expected], abs=1e-5)
    assert cut == {"responses": 2, "prompts": 1, "endings": 0}
    assert found[0] == pytest.approx(score_groups(model, tokenizer, "hh", alone, LIMITS)[0][0])


def test_groups_are_read_as_a_stream(
    build: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_scores, "_WINDOW", 4)
    read = itertools.count()
    seen: list[int] = []
    last = [0]

    def values(
        model: Any, groups: Any, pad_id: int, batch_tokens: int, read: Any
    ) -> list[list[float]]:
        seen.append(last[0])
        return [[] for _ in groups]

    monkeypatch.setattr(group_scores, "response_values", values)

    def stream() -> Any:
        for group in many():
            last[0] = next(read)
            yield group

    assert len(logps_groups(build(), tokenizer, "hh", stream(), LIMITS)) == len(many())
    assert seen == [3, 7, 11, 15, 19, 22]


def test_a_model_keeps_its_attention(build: Any, tokenizer: Any) -> None:
    model = build()
    before = model.config._attn_implementation
    logps_groups(model, tokenizer, "hh", many(), LIMITS)
    assert model.config._attn_implementation == before


def ragged(count: int = 9) -> list[EncodedGroup]:
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
    model, data = build("llama"), ragged()
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
        sizes.append(sum(group_tokens(group, shared=True) for group in given))
        return real(self, given, pad_id)

    monkeypatch.setattr(GroupPolicy, "batch", batch)
    response_values(policy, ragged(), 0, 30)
    assert max(sizes) <= 30 and len(sizes) > 3
