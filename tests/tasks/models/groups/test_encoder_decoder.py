"""Prompts in the encoder once, responses in the decoder; the same as a pass per response."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.models.groups.encoder_decoder import arrange
from tasks.models.groups.group_model import GroupPolicy, GroupReward
from tasks.models.policy import load_policy
from tasks.models.reward_model import build_reward_model
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import ConfigError
from tests.tasks.models import families
from tests.tasks.models.families import PAD, group


def test_a_batch_by_hand() -> None:
    model = families.build("bart")  # starts with 2 and then 1; EOS is 2
    first = EncodedGroup([5, 6], [[7, 2], [8, 9, 2]], False, [False, False])
    second = EncodedGroup([4, 2], [[3]], False, [False])
    batch = arrange([first, EncodedGroup([9], [], False, []), second], model, 0)
    assert batch.input_ids.tolist() == [[5, 6, 2], [4, 2, 0]]
    assert batch.attention_mask.tolist() == [[True] * 3, [True, True, False]]
    assert batch.decoder_input_ids.tolist() == [[2, 1, 7, 0], [2, 1, 8, 9], [2, 1, 0, 0]]
    assert batch.owners.tolist() == [0, 0, 1]
    assert batch.scored.tolist() == [1, 2, 5, 6, 7, 9]
    assert batch.targets.tolist() == [7, 2, 8, 9, 2, 3]
    assert batch.slots.tolist() == [0, 0, 1, 1, 1, 4]
    assert batch.lengths.tolist() == [[2, 3], [0, 0], [1, 0]]
    assert batch.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert batch.computed == 6 + 12


def test_the_sum_is_that_of_single_tokens_of_single_passes() -> None:
    """Looked up one by one in transformers' own logits."""
    for family in families.TWO_SIDED:
        model = families.build(family)
        start = [model.config.decoder_start_token_id]
        start += [1] if family == "bart" else []
        whole = group(6, [4, 1, 7])
        policy = GroupPolicy(model, temperature=0.5)
        with torch.no_grad():
            found = policy(policy.batch([whole], PAD))[0].tolist()
            for value, response in zip(found, whole.responses_ids, strict=True):
                logits = model(
                    input_ids=torch.tensor([[*whole.prompt_ids, 2]]),
                    decoder_input_ids=torch.tensor([start + response[:-1]]),
                ).logits[0, len(start) - 1 :]
                table = (logits / 0.5).log_softmax(-1)
                expected = sum(float(table[n, token]) for n, token in enumerate(response))
                assert value == pytest.approx(expected, rel=1e-5)


def test_a_prompt_goes_through_the_encoder_once() -> None:
    for family in families.TWO_SIDED:
        model = families.build(family)
        rows: list[torch.Size] = []
        model.get_encoder().register_forward_hook(
            lambda module, given, output, rows=rows: rows.append(output.last_hidden_state.shape[:2])
        )
        projected: list[int] = []
        for name, part in model.named_modules():
            if name.endswith(("encoder_attn.k_proj", "EncDecAttention.k")):
                part.register_forward_hook(
                    lambda module, given, output, seen=projected: seen.append(output.shape[0])
                )
        policy = GroupPolicy(model)
        policy(policy.batch([group(6, [4, 1, 7]), group(3, [2])], PAD))
        assert rows == [(2, 7)]
        assert projected == [2, 2]


def test_a_trained_bias_of_the_logits_counts() -> None:
    model = families.build("bart")
    model.final_logits_bias.copy_(torch.randn(1, families.VOCABULARY))
    policy = GroupPolicy(model)
    policy.check(families.TEXT)
    assert policy.shared


def test_a_model_without_a_start_is_refused() -> None:
    model = families.build("bart")
    model.config.decoder_start_token_id = None
    with pytest.raises(ConfigError, match="bart model's config.json has no decoder_start_token_id"):
        GroupPolicy(model).batch([group(1, [1])], PAD)
    model.config.decoder_start_token_id = 2
    with pytest.raises(ValueError, match="at least one response, got none"):
        GroupPolicy(model).batch([EncodedGroup([3], [], False, [])], PAD)


@pytest.mark.parametrize("family", families.TWO_SIDED)
def test_folders_load_as_policies_without_dropout(family: str, tmp_path: Path) -> None:
    rates = {"bart": {"dropout": 0.3, "decoder_layerdrop": 0.2}, "t5": {"dropout_rate": 0.3}}
    families.build(family, **rates[family]).save_pretrained(tmp_path)
    model = load_policy(tmp_path)
    policy = GroupPolicy(model)
    policy.check(families.TEXT)
    assert policy.shared
    batch = policy.batch([group(6, [4, 1])], PAD)
    assert torch.equal(policy.train()(batch), policy.eval()(batch))


def test_a_reward_model_with_an_encoder_is_refused_by_name(tmp_path: Path, tokenizer: Any) -> None:
    families.build("bart").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="BartForSequenceClassification needs"):
        build_reward_model(tmp_path, tokenizer)
    reward = GroupReward(families.build("bart"))
    with pytest.raises(NotImplementedError, match="decoder alone"):
        reward(reward.batch([group(1, [1])], PAD))
