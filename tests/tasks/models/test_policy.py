"""Log-probabilities against a slow loop over single rows, and context checks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.data.groups import Group
from tasks.models.loading import save_model
from tasks.models.padded_batches import GroupBatch, collate
from tasks.models.policy import check_context, frozen, load_policy, sequence_logps
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.settings.errors import ConfigError


def encode(tokenizer: Any, groups: list[Group]) -> list[EncodedGroup]:
    return [encode_group(tokenizer, "hh", group, Limits()) for group in groups]


def slow_logp(model: Any, prompt: list[int], response: list[int], temperature: float) -> float:
    """One row without padding; every token's probability looked up by itself."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0] / temperature
    return sum(
        float(logits[len(prompt) + place - 1].log_softmax(-1)[token])
        for place, token in enumerate(response)
    )


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_equals_the_slow_sum_over_response_tokens(
    policy: Any, tokenizer: Any, groups: list[Group], side: str, temperature: float
) -> None:
    encoded = encode(tokenizer, groups)
    batch = collate(encoded, tokenizer.pad_token_id, side=side)
    logps = sequence_logps(policy, batch, temperature)
    assert logps.shape == (3, 3) and logps.dtype == torch.float32
    for index, group in enumerate(encoded):
        for slot in range(3):
            expected = 0.0
            if slot < len(group.responses_ids):
                response = group.responses_ids[slot]
                expected = slow_logp(policy, group.prompt_ids, response, temperature)
            assert logps[index, slot].item() == pytest.approx(expected, abs=1e-3)


def test_eos_counts_and_the_prompt_does_not(build: Any, tokenizer: Any) -> None:
    model, vocabulary = build("llama"), len(tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # uniform: each token is -log V
    group = Group((("user", "a prompt of some length"),), ("abc", ""))  # type: ignore[arg-type]
    (encoded,) = [encode_group(tokenizer, "plain", _messages(group), Limits())]
    logps = sequence_logps(model, collate([encoded], tokenizer.pad_token_id))
    per_token = torch.tensor(float(vocabulary)).log()
    lengths = torch.tensor([len(encoded.responses_ids[0]), 1.0])
    assert torch.allclose(logps[0], -lengths * per_token, atol=1e-4)


def test_pads_change_neither_value_nor_gradient(
    policy: Any, tokenizer: Any, groups: list[Group]
) -> None:
    batch = collate(encode(tokenizer, groups), tokenizer.pad_token_id)
    other = batch._replace(input_ids=batch.input_ids.masked_fill(~batch.attention_mask, 9))
    values, gradients = zip(
        _value_and_gradient(policy, batch), _value_and_gradient(policy, other), strict=True
    )
    assert torch.equal(*values)
    assert torch.allclose(*gradients, atol=1e-6)
    assert float(gradients[0].abs().sum()) > 0


def test_low_precision_is_raised_to_float32(
    build: Any, tokenizer: Any, groups: list[Group]
) -> None:
    batch = collate(encode(tokenizer, groups), tokenizer.pad_token_id)
    assert sequence_logps(build("llama").bfloat16(), batch).dtype == torch.float32
    assert sequence_logps(build("llama").double(), batch).dtype == torch.float64
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        sequence_logps(build("llama"), batch, 0.0)


def test_policy_equals_itself_even_in_train_mode(
    build: Any, tokenizer: Any, groups: list[Group], tmp_path: Any
) -> None:
    """KL(policy || reference) is 0 at step 0: dropout is off, whatever the config says."""
    noisy = build("gpt2", dropout=0.5).train()
    save_model(noisy, tokenizer, tmp_path, "hh")
    batch = collate(encode(tokenizer, groups), tokenizer.pad_token_id)
    reference = load_policy(tmp_path)
    expected = sequence_logps(reference, batch)
    assert not reference.training
    assert torch.equal(sequence_logps(load_policy(tmp_path).train(), batch), expected)
    assert not torch.equal(sequence_logps(noisy, batch), expected)
    with frozen(noisy):
        assert torch.equal(sequence_logps(noisy, batch), expected)
    assert noisy.training


def test_a_context_too_short_is_named_with_its_numbers(build: Any) -> None:
    limits = Limits(max_prompt_tokens=100, max_response_tokens=29)
    with pytest.raises(ConfigError, match="context of 128 tokens.* 100 .* 29 = 129"):
        check_context(build("gpt2").config, limits)
    check_context(build("llama").config, Limits(max_prompt_tokens=100, max_response_tokens=28))


def _messages(group: Group) -> Group:
    from tasks.data.groups import Message

    return Group(tuple(Message(*turn) for turn in group.prompt), group.responses)


def _value_and_gradient(model: Any, batch: GroupBatch) -> tuple[torch.Tensor, torch.Tensor]:
    model.zero_grad()
    logps = sequence_logps(model, batch)
    logps.sum().backward()
    return logps.detach(), model.get_input_embeddings().weight.grad.clone()
