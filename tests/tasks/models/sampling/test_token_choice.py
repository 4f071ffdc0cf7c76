"""Drawing tokens: truncation as defined, frequencies as the probabilities; what can end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.token_choice import closing_tokens, draw_tokens, end_ids

LOGITS = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()


def drawn(
    config: SamplingConfig, logits: torch.Tensor = LOGITS, count: int = 20_000
) -> list[float]:
    """Share of each token over evenly spaced uniforms."""
    uniform = torch.arange(count, dtype=torch.float64) / count
    tokens = draw_tokens(logits.expand(count, -1), uniform, config)
    return (torch.bincount(tokens, minlength=logits.shape[-1]) / count).tolist()


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        (SamplingConfig(), [0.5, 0.1, 0.3, 0.1]),
        (SamplingConfig(top_k=2), [0.625, 0, 0.375, 0]),
        (SamplingConfig(top_k=99), [0.5, 0.1, 0.3, 0.1]),
        (SamplingConfig(top_p=0.75), [0.625, 0, 0.375, 0]),
        (SamplingConfig(top_p=0.01), [1, 0, 0, 0]),
        # Of the three likeliest, renormalised to 5/9, 1/9, 3/9: the first alone has 0.55.
        (SamplingConfig(top_k=3, top_p=0.55), [1, 0, 0, 0]),
        (SamplingConfig(top_k=3, top_p=0.6), [0.625, 0, 0.375, 0]),
        # Squared and renormalised by 0.36.
        (SamplingConfig(temperature=0.5), [25 / 36, 1 / 36, 9 / 36, 1 / 36]),
        (SamplingConfig(temperature=0), [1, 0, 0, 0]),
    ],
)
def test_shares_are_the_probabilities(config: SamplingConfig, shares: list[float]) -> None:
    assert drawn(config) == pytest.approx(shares, abs=2e-4)


@given(
    logits=st.lists(st.floats(-50, 50), min_size=1, max_size=12),
    uniform=st.floats(0, 1, exclude_max=True),
    top_k=st.integers(0, 4),
    top_p=st.floats(0.01, 1),
)
def test_only_possible_tokens_are_drawn(
    logits: list[float], uniform: float, top_k: int, top_p: float
) -> None:
    row = torch.tensor([[*logits, -torch.inf]])
    before = row.clone()
    config = SamplingConfig(top_k=top_k, top_p=top_p)
    token = int(draw_tokens(row, torch.tensor([uniform], dtype=torch.float64), config))
    assert token < len(logits)
    assert torch.equal(row, before)
    if top_k:
        assert sum(value > row[0, token] for value in row[0]) < top_k


def test_an_impossible_first_token_is_not_drawn_at_zero() -> None:
    logits = torch.tensor([[-torch.inf, 0.0]])
    assert int(draw_tokens(logits, torch.zeros(1), SamplingConfig())) == 1


def test_tokens_that_can_complete_a_stop(tokenizer: Any, build: Any) -> None:
    model = build("llama")
    closing = closing_tokens(tokenizer, model, ["ab", "é"])
    words = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    for word, closes in zip(words, closing.tolist(), strict=True):
        assert closes == any(sign in word for sign in ("b", "é", "\ufffd"))
    assert not bool(closing_tokens(tokenizer, model, []).any())


def test_a_stop_that_is_a_special_token_ends_by_id(tokenizer: Any, build: Any) -> None:
    ends = end_ids(build("llama"), tokenizer, ["<bos>", "text"])
    assert ends == sorted([tokenizer.bos_token_id, tokenizer.eos_token_id])
