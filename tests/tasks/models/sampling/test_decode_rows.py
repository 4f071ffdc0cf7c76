"""Rows that share prompts, drop out and grow give the logits of each row read whole and alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.models.policy import frozen
from tasks.models.sampling.decode_rows import continue_prompts, why_not_shared
from tests.tasks.models.families import TEXT, build, exact

PROMPTS = [[5, 9, 4, 30, 7, 8, 12, 11, 3], [6, 3, 22], [7, 8, 9, 10, 11], [4]]
SAMPLES = 3
SHARING = ["gpt2", "llama", "llama-tied", "neox", "qwen2", "qwen3", "phi", "granite", "cohere"]


def whole(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits after a row that nobody shares, without any cache."""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


def opened(model: Any) -> Any:
    """Continuations of the prompts, shared where the model allows it."""
    shared = not model.config.is_encoder_decoder and why_not_shared(model, TEXT) is None
    return continue_prompts(model, PROMPTS, SAMPLES, 0, shared=shared)


def errors(model: Any, steps: int = 40) -> list[float]:
    """Relative errors of every row at some steps, while rows leave as they like."""
    generator = torch.Generator().manual_seed(1)
    seen: list[tuple[list[int], torch.Tensor]] = []
    rows = [list(prompt) for prompt in PROMPTS for _ in range(SAMPLES)]
    with frozen(model), opened(model) as (logits, kept):
        for step in range(steps):
            if step in (0, 1, 2, 7, 33, steps - 1):
                seen += zip(rows, logits, strict=True)
            tokens = torch.randint(3, 40, (len(rows),), generator=generator)
            rows = [[*row, int(token)] for row, token in zip(rows, tokens, strict=True)]
            if step in (0, 4, 5, 20):
                # The first prompt goes early, others lose one row after the other.
                going = torch.rand(len(rows), generator=generator) > 0.2
                going[0] = step == 0
                order = kept.keep(going)
                assert sorted(order.tolist()) == going.nonzero()[:, 0].tolist()
                rows, tokens = [rows[int(place)] for place in order], tokens[order]
            logits = kept.step(tokens)
    assert len(rows) < len(PROMPTS) * SAMPLES
    with frozen(model):
        pairs = [(ours, whole(model, row)) for row, ours in seen]
    return [float((ours - theirs).norm() / theirs.norm()) for ours, theirs in pairs]


@pytest.mark.parametrize("family", SHARING)
def test_shared_rows_equal_whole_rows(family: str) -> None:
    model = exact(build(family))
    own = model.config._attn_implementation
    assert why_not_shared(model, TEXT) is None
    assert max(errors(model)) < 1e-9
    assert model.config._attn_implementation == own
    single = build(family).float()
    assert max(errors(single)) < 1e-5


@pytest.mark.parametrize("family", ["mistral", "opt", "bloom", "gemma2"])
def test_other_architectures_keep_their_own_cache(family: str) -> None:
    model = exact(build(family))
    reason = why_not_shared(model, TEXT)
    if family == "mistral":
        assert reason and "DynamicSlidingWindowLayer" in reason
    assert max(errors(model)) < 1e-9


def test_a_model_whose_attention_is_its_own_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.models.sampling import shared_attention

    real = shared_attention._prompt_values
    monkeypatch.setattr(shared_attention, "_prompt_values", lambda *args: real(*args).mul(0.5))
    reason = why_not_shared(build("llama").double(), TEXT)
    assert reason and "logits differ" in reason


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_an_encoder_reads_each_prompt_once(family: str) -> None:
    model = exact(build(family))
    generator = torch.Generator().manual_seed(2)
    start = model.config.decoder_start_token_id
    rows = [(prompt, [start]) for prompt in PROMPTS for _ in range(SAMPLES)]
    seen = []
    with frozen(model):
        with opened(model) as (logits, kept):
            for step in range(6):
                seen += zip(rows, logits, strict=True)
                tokens = torch.randint(3, 40, (len(rows),), generator=generator)
                rows = [
                    (prompt, [*row, int(token)])
                    for (prompt, row), token in zip(rows, tokens, strict=True)
                ]
                if step in (0, 3):
                    order = kept.keep(torch.arange(len(rows)) != 4)
                    rows, tokens = [rows[int(place)] for place in order], tokens[order]
                logits = kept.step(tokens)
        for (prompt, row), ours in seen:
            theirs = model(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([row])
            ).logits[0, -1]
            assert float((ours - theirs).norm() / theirs.norm()) < 1e-9
