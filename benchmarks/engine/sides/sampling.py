"""Sampling as sides: ours, and transformers' `generate` with several sequences per prompt."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.engine.setting import PROMPTS, Setting, conversations, texts
from benchmarks.engine.sides.drawn import NEW_TOKENS, Drawn
from benchmarks.engine.worker import Block, Turns
from tasks.models.policy import load_policy
from tasks.models.precision import compute_device
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import sample
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.storage.files import read_json

_GREEDY_PROMPTS, _GREEDY_TOKENS = 4, 12


def ours(
    turns: Turns, setting: Setting, folder: Path, *, precision: str, prompts: int, samples: int
) -> None:
    """Sample by `sample`, as the stage does, a shard of prompts per block."""
    tokenizer = load_tokenizer(folder / "policy")
    model = load_policy(folder / "policy", dtype="float32").to(compute_device())
    template, asked = conversations(tokenizer, setting, texts(folder, 2, prompts))
    config = SamplingConfig(samples=samples, max_new_tokens=NEW_TOKENS, precision=precision)
    greedy = SamplingConfig(
        samples=1, max_new_tokens=_GREEDY_TOKENS, temperature=0.0, precision=precision
    )
    found = sample(model, tokenizer, template, asked[:_GREEDY_PROMPTS], greedy, 0)
    done = Block(losses=_marks([answers[0].text for answers in found], precision))
    counted, seed = Drawn(), 0
    while True:
        turns.next(done)
        seed += 1
        answers = sample(model, tokenizer, template, asked, config, seed)
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
    asked = read_json(folder / PROMPTS)[:prompts]

    def answer(part: list[list[int]], **options: Any) -> Any:
        rows = tokenizer.pad({"input_ids": part}, return_tensors="pt").to(device)
        with torch.inference_mode():
            output = model.generate(**rows, pad_token_id=tokenizer.pad_token_id, **options)
        return output[:, rows["input_ids"].shape[1] :]

    ids = answer(asked[:_GREEDY_PROMPTS], do_sample=False, max_new_tokens=_GREEDY_TOKENS)
    done = Block(losses=_marks(tokenizer.batch_decode(ids, skip_special_tokens=True), precision))
    drawing: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    counted, seed = Drawn(), 0
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


def _marks(answers: list[str], precision: str) -> dict[int, float]:
    """Return a number per greedy answer that is equal only for equal texts; none in bf16."""
    if precision != "fp32":
        return {}
    return {1 + place: float(zlib.crc32(text.encode())) for place, text in enumerate(answers)}
