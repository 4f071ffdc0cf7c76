"""Sampling as sides: ours, and transformers' `generate` with several sequences per prompt."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.engine.setting import TEMPLATE, Setting, texts
from benchmarks.engine.worker import Block, Turns
from tasks.data.groups import Message
from tasks.models.policy import load_policy
from tasks.models.precision import compute_device
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import sample
from tasks.models.tokens.conversations import render_prompt
from tasks.models.tokens.tokenizer import load_tokenizer

NEW_TOKENS = 128
_GREEDY_PROMPTS, _GREEDY_TOKENS = 4, 12


class _Counted:
    """What has been drawn so far; both sides must draw responses of about one mean length."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def block(self, lengths: list[int], steps: int) -> Block:
        """Return a block of responses of these lengths, `steps` tokens drawn for them, if known."""
        self.lengths += lengths
        mean = sum(self.lengths) / len(self.lengths)
        done = Block(units=sum(lengths), losses={0: mean}, notes={"mean_length": round(mean, 1)})
        done.computed, done.needed = steps, sum(lengths)
        return done


def ours(
    turns: Turns, setting: Setting, folder: Path, *, precision: str, prompts: int, samples: int
) -> None:
    """Sample by `sample`, as the stage does, a shard of prompts per block."""
    tokenizer = load_tokenizer(folder / "policy")
    model = load_policy(folder / "policy", dtype="float32").to(compute_device())
    # Written out already: the template `plain` has no stop strings, as `generate` has none here.
    asked = [[Message("user", text)] for text in _prompts(folder, tokenizer, prompts)]
    config = SamplingConfig(samples=samples, max_new_tokens=NEW_TOKENS, precision=precision)
    greedy = SamplingConfig(
        samples=1, max_new_tokens=_GREEDY_TOKENS, temperature=0.0, precision=precision
    )
    found = sample(model, tokenizer, "plain", asked[:_GREEDY_PROMPTS], greedy, 0)
    done = Block(losses=_marks([answers[0].text for answers in found], precision))
    counted, seed = _Counted(), 0
    while True:
        turns.next(done)
        seed += 1
        answers = sample(model, tokenizer, "plain", asked, config, seed)
        lengths = [answer.tokens for group in answers for answer in group]
        done = counted.block(lengths, 0)


def generate(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    precision: str,
    prompts: int,
    samples: int,
    batch: int,
) -> None:
    """Sample by `generate`, `batch` prompts at a time in the order they come."""
    device = compute_device()
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=kind).to(device).eval()
    asked = _prompts(folder, tokenizer, prompts)

    def answer(part: list[str], **options: Any) -> Any:
        rows = tokenizer(part, add_special_tokens=False, return_tensors="pt", padding=True)
        rows = rows.to(device)
        with torch.inference_mode():
            output = model.generate(**rows, pad_token_id=tokenizer.pad_token_id, **options)
        return output[:, rows["input_ids"].shape[1] :]

    ids = answer(asked[:_GREEDY_PROMPTS], do_sample=False, max_new_tokens=_GREEDY_TOKENS)
    done = Block(losses=_marks(tokenizer.batch_decode(ids, skip_special_tokens=True), precision))
    drawing: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    counted, seed = _Counted(), 0
    while True:
        turns.next(done)
        seed += 1
        torch.manual_seed(seed)
        lengths, steps = [], 0
        for start in range(0, len(asked), batch):
            part = asked[start : start + batch]
            drawn = answer(part, num_return_sequences=samples, max_new_tokens=NEW_TOKENS, **drawing)
            ends = (drawn == tokenizer.eos_token_id).int()
            first = torch.where(ends.any(1), ends.argmax(1) + 1, drawn.shape[1])
            lengths += first.tolist()
            steps += drawn.numel()
        done = counted.block(lengths, steps)


def _prompts(folder: Path, tokenizer: Any, count: int) -> list[str]:
    return [render_prompt(tokenizer, TEMPLATE, group.prompt) for group in texts(folder, 2, count)]


def _marks(answers: list[str], precision: str) -> dict[int, float]:
    """Return a number per greedy answer that is equal only for equal texts; none in bf16."""
    if precision != "fp32":
        return {}
    return {1 + place: float(zlib.crc32(text.encode())) for place, text in enumerate(answers)}
