"""The decoding loop: batches within a budget, and dropping finished rows changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models.sampling import decoding
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.decoding import Request, decode, token_budget_batches


def test_dropping_finished_rows_changes_no_response(
    policy: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SamplingConfig(samples=4, max_new_tokens=16)
    prompt = (Message("user", "x"),)
    requests = [Request(n, [1, *range(5, 6 + n)], prompt) for n in range(5)]
    plain = policy.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits[..., tokenizer.eos_token_id] += 4.0
        return output

    policy.forward = forward
    found = []
    for keep in (0.0, 0.97, 1.1):  # never dropped, as is, batch rebuilt at every step
        monkeypatch.setattr(decoding, "_KEEP", keep)
        found.append(decode(policy, tokenizer, requests, config, (), (0,)))
    assert found[0] == found[1] == found[2]
    lengths = {answer.tokens for answers in found[0] for answer in answers}
    assert len(lengths) > 5


def test_batches_hold_a_budget_of_tokens_and_similar_prompts() -> None:
    config = SamplingConfig(samples=2, max_new_tokens=10, batch_tokens=100)
    lengths = [30, 5, 60, 31, 6, 29, 500]
    requests = [Request(n, [1] * length, ()) for n, length in enumerate(lengths)]
    held = {n: length + 2 * 10 for n, length in enumerate(lengths)}
    batches = list(token_budget_batches(requests, config, shared=True))
    assert [[request.place for request in batch] for batch in batches] == [
        [6],
        [2],
        [3],
        [0, 5],
        [4, 1],
    ]
    for batch in batches[1:]:
        assert sum(held[request.place] for request in batch) <= 100
    apart = list(token_budget_batches(requests, config, shared=False))
    assert len(apart) > len(batches)  # a prompt counts once per sample
    assert list(token_budget_batches([], config, shared=True)) == []


def test_batches_of_one_shard_have_nearly_the_same_size() -> None:
    config = SamplingConfig(samples=1, max_new_tokens=9, batch_tokens=100)
    requests = [Request(n, [1], ()) for n in range(11)]
    assert [len(batch) for batch in token_budget_batches(requests, config, shared=True)] == [6, 5]
