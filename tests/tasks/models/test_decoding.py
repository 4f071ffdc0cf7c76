"""The decoding loop: pads on the left, and dropping finished rows changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models import decoding
from tasks.models.decoding import Request, decode, pad_left
from tasks.models.generation import SamplingConfig


def test_padding_is_on_the_left() -> None:
    ids, mask = pad_left([[5], [1, 2, 0]], pad_id=0)
    assert ids.tolist() == [[0, 0, 5], [1, 2, 0]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]
    with pytest.raises(AssertionError):
        pad_left([[5], []], pad_id=0)


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
    for keep in (0.0, 0.9, 1.1):  # never dropped, as is, batch rebuilt at every step
        monkeypatch.setattr(decoding, "_KEEP", keep)
        found.append(decode(policy, tokenizer, requests, config, (), (0,)))
    assert found[0] == found[1] == found[2]
    lengths = {answer.tokens for answers in found[0] for answer in answers}
    assert len(lengths) > 5
