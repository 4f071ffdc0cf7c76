"""What decides whether prompts are shared, piece by piece."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.models import prompt_sharing_check
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.policy import load_policy
from tasks.models.prompt_sharing_check import (
    difference,
    disagreement,
    dropouts,
    logit_scale,
    longest_sequence,
    ordinary_tokens,
    probe_groups,
)
from tasks.models.sampling.decode_rows import why_not_shared
from tasks.models.tokens.tokenizer import load_tokenizer


def config(**values: Any) -> Any:
    return SimpleNamespace(**values)


def test_the_probe_is_text_and_none_of_it_special(tokenizer: Any) -> None:
    tokens = ordinary_tokens(tokenizer)
    assert len(tokens) > 38 and not set(tokens) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(tokens).startswith("When the rain had stopped")
    groups = probe_groups(tokens)
    read = [
        i for group in groups for part in (group.prompt_ids, *group.responses_ids) for i in part
    ]
    assert read == tokens[: len(read)]
    assert [len(group.responses_ids) for group in groups] == [2, 1, 3]
    assert probe_groups([7, 8])[0].prompt_ids == [7, 8, 7, 8, 7]


def test_a_difference_is_relative_and_nan_is_infinite() -> None:
    three_four = torch.tensor([3.0, 4.0])
    assert difference(three_four + torch.tensor([0.0, 0.5]), three_four) == pytest.approx(0.1)
    assert difference(torch.tensor([math.nan]), torch.tensor([1.0])) == math.inf
    assert difference(torch.zeros(2), torch.zeros(2)) == 0


class Cancelling(torch.nn.Module):
    """Loses most of its digits in a narrow type, whichever way it computes."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.1, 1.3, 48, dtype=dtype))
        self.register_buffer("exact", torch.tensor([1 / 3]))
        self.dtype, self.device = dtype, torch.device("cpu")

    def plain(self) -> tuple[torch.Tensor]:
        return ((self.weight + 60) - 60,)

    def shared(self, off: float = 0.0) -> tuple[torch.Tensor]:
        return ((self.weight * (1 + off) + 75) - 75,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_narrow_type_is_allowed_what_it_costs_itself(dtype: torch.dtype) -> None:
    """In bfloat16 both ways are off by a fifth; that the algorithm is right shows in float32."""
    model: Any = Cancelling(dtype)
    before = model.weight.detach().clone()
    with torch.inference_mode():
        if dtype == torch.bfloat16:
            assert difference(model.shared()[0], model.plain()[0]) > 0.1
        assert disagreement(model, model.plain, model.shared) is None
        # Wrong by less than bfloat16 shows.
        off = disagreement(model, model.plain, lambda: model.shared(0.01))
    assert off == pytest.approx(0.01, rel=0.05)
    assert model.weight.dtype == dtype and torch.equal(model.weight, before)
    assert model.exact.dtype == torch.float32
    model.weight.sum().backward()  # it can be trained still


def test_a_way_that_fails_in_the_narrow_type_alone_is_found() -> None:
    model: Any = Cancelling(torch.bfloat16)

    def shared() -> tuple[torch.Tensor]:
        return model.shared(0.0 if model.weight.dtype == torch.float32 else 3.0)

    assert (disagreement(model, model.plain, shared) or 0) > 1


def test_without_room_for_float32_the_narrow_type_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = Cancelling(torch.float16)
    monkeypatch.setattr(prompt_sharing_check, "_has_room", lambda model: False)
    seen = []

    def shared(off: float) -> tuple[torch.Tensor]:
        seen.append(model.weight.dtype)
        return model.shared(off)

    assert disagreement(model, model.plain, lambda: shared(0.01)) is None
    assert disagreement(model, model.plain, lambda: shared(0.5)) is not None
    assert set(seen) == {torch.float16}


@pytest.mark.parametrize("tokens", ["text", "reserved"])
def test_the_real_model_shares_in_bf16(real_model: Path, tokens: str) -> None:
    """SmolLM2 on ordinary text, and on its ids 3 to 40, which it hardly ever met."""
    ids = range(3, 41) if tokens == "reserved" else ordinary_tokens(load_tokenizer(real_model))
    model = load_policy(real_model, dtype="bfloat16")
    assert why_not_shared(model, ids) is None
    policy = GroupPolicy(model)
    policy.check(ids)
    assert policy.shared, policy.reason


def test_dropouts_are_those_above_zero() -> None:
    given = config(resid_pdrop=0.1, attention_dropout=0.0, layerdrop=0.2, dropout_rate=0.3, eps=0.4)
    assert dropouts(given) == ["resid_pdrop", "layerdrop", "dropout_rate"]


def test_the_longest_sequence_is_the_smallest_reach() -> None:
    assert longest_sequence(config(), windows=True) == math.inf
    window = config(sliding_window=7, attention_chunk_size=None)
    assert longest_sequence(window, windows=True) == 7
    assert longest_sequence(window, windows=False) == math.inf
    unused = config(sliding_window=7, use_sliding_window=False, attention_chunk_size=9)
    assert longest_sequence(unused, windows=True) == 9


def test_logits_are_scaled_as_the_config_says() -> None:
    assert logit_scale(config()) == 1
    assert logit_scale(config(logit_scale=0.25)) == 0.25
    assert logit_scale(config(logits_scaling=8)) == 0.125
    assert logit_scale(config(logit_scale="inv_sqrt_d_model")) == 1  # checked by its numbers
