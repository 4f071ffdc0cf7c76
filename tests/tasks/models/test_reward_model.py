"""Rewards: exactly transformers' own score, whatever the padding and the batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tasks.data.groups import Group
from tasks.models.loading import save_model
from tasks.models.padded_batches import collate
from tasks.models.reward_model import build_reward_model, load_reward_model, rewards
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.objectives.reward import ranking
from tasks.settings.errors import ConfigError
from tests.tasks.models.random_heads import random_reward_model


@pytest.fixture
def folder(policy: Any, tokenizer: Any, tmp_path: Path) -> Path:
    """A saved reward model of each family, on the backbone of a saved policy."""
    save_model(policy, tokenizer, tmp_path / "policy", "hh")
    model = random_reward_model(tmp_path / "policy", tokenizer, seed=3)
    save_model(model, tokenizer, tmp_path / "reward", "hh")
    return tmp_path / "reward"


def encode(tokenizer: Any, groups: list[Group]) -> list[EncodedGroup]:
    return [encode_group(tokenizer, None, group, Limits()) for group in groups]


@torch.no_grad()
def test_plain_transformers_gives_exactly_the_same_score(folder: Path, groups: list[Group]) -> None:
    tokenizer, model = load_tokenizer(folder), load_reward_model(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = encode(tokenizer, groups)
    batch = collate(encoded, tokenizer.pad_token_id)
    ours = rewards(model, batch)
    padded = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long()).logits
    assert torch.equal(ours[batch.mask], padded[:, 0])
    # A single row without padding, as a user would score it.
    for group in encoded:
        for response in group.responses_ids:
            row = EncodedGroup(group.prompt_ids, [response], False, [False])
            single = rewards(model, collate([row], tokenizer.pad_token_id))
            alone = theirs(input_ids=torch.tensor([group.prompt_ids + response])).logits
            assert torch.equal(single, alone)


@torch.no_grad()
def test_score_is_the_head_at_the_last_response_token(folder: Path, groups: list[Group]) -> None:
    """Read by hand from the backbone's hidden states, at our own lengths."""
    tokenizer, model = load_tokenizer(folder), load_reward_model(folder)
    for group in encode(tokenizer, groups):
        scores = rewards(model, collate([group], tokenizer.pad_token_id))
        for slot, response in enumerate(group.responses_ids):
            hidden = model.base_model(torch.tensor([group.prompt_ids + response]))[0]
            expected = float(hidden[0, -1] @ model.score.weight[0])
            assert float(scores[0, slot]) == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_padding_side_and_batch_size_do_not_move_scores(folder: Path, groups: list[Group]) -> None:
    tokenizer, model = load_tokenizer(folder), load_reward_model(folder)
    encoded, pad = encode(tokenizer, groups), tokenizer.pad_token_id
    together = rewards(model, collate(encoded, pad))
    left = rewards(model, collate(encoded, pad, side="left"))
    assert torch.allclose(together, left, atol=1e-4)
    for index, group in enumerate(encoded):
        alone = rewards(model, collate([group], pad))[0]
        assert torch.allclose(together[index, : len(alone)], alone, atol=1e-4)
    assert float(together[~collate(encoded, pad).mask].abs().sum()) == 0


def test_at_first_it_prefers_nothing(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Every reward is 0, so the loss of a pair is log 2; the head has a gradient all the same."""
    save_model(build("llama"), tokenizer, tmp_path, "hh")
    before = torch.get_rng_state()
    model = build_reward_model(tmp_path, tokenizer)
    assert torch.equal(torch.get_rng_state(), before)
    pair = EncodedGroup([3, 4, 5], [[6, 7], [8]], False, [False, False])
    values = rewards(model, collate([pair], tokenizer.pad_token_id))
    assert values.tolist() == [[0.0, 0.0]]
    loss = ranking(values, torch.tensor([[1.0, 0.0]])).mean()
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-6)
    loss.backward()
    assert float(model.score.weight.grad.norm()) > 0
    backbone = build("llama").get_input_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight, backbone)


def test_pad_is_added_where_it_equals_eos(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    save_model(build("gpt2"), tokenizer, tmp_path / "policy", "hh")
    size = len(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    model = build_reward_model(tmp_path / "policy", tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id == size
    assert model.get_input_embeddings().num_embeddings == size + 1
    save_model(model, tokenizer, tmp_path / "reward", "hh")
    assert load_reward_model(tmp_path / "reward").config.pad_token_id == size


def test_a_batch_padded_with_another_id_is_refused(folder: Path, groups: list[Group]) -> None:
    tokenizer, model = load_tokenizer(folder), load_reward_model(folder)
    with pytest.raises(ValueError, match="its own pad id"):
        rewards(model, collate(encode(tokenizer, groups), tokenizer.eos_token_id))


def test_gradients_reach_head_and_backbone(folder: Path, groups: list[Group]) -> None:
    tokenizer, model = load_tokenizer(folder), load_reward_model(folder)
    rewards(model, collate(encode(tokenizer, groups), tokenizer.pad_token_id)).sum().backward()
    assert float(model.score.weight.grad.abs().sum()) > 0
    assert float(model.get_input_embeddings().weight.grad.abs().sum()) > 0


def test_a_policy_is_no_reward_model(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    save_model(build("llama"), tokenizer, tmp_path, "hh")
    with pytest.raises(ConfigError, match=r"lacks 1 weights .*score\.weight"):
        load_reward_model(tmp_path)
