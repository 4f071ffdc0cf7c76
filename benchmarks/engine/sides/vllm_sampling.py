"""Sampling by vLLM as a side, in vLLM's own environment, of which nothing gets into ours.

It is asked in this process, so that no server's answers are in the time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.engine.setting import PROMPTS
from benchmarks.engine.sides.drawn import NEW_TOKENS, Drawn
from benchmarks.engine.worker import Turns


def sample(
    turns: Turns,
    setting: Any,
    folder: Path,
    *,
    precision: str,
    prompts: int,
    samples: int,
    eager: bool,
) -> None:
    """Sample all prompts in one call per block; compiled, or eager as it comes."""
    from vllm import LLM, SamplingParams

    asked = json.loads((folder / PROMPTS).read_text())[:prompts]
    model = LLM(
        str(folder / "policy"),
        dtype="bfloat16" if precision == "bf16" else "float32",
        max_model_len=max(map(len, asked)) + NEW_TOKENS,
        max_num_seqs=prompts * samples,
        enforce_eager=eager,
        seed=0,
    )

    def draw(tokens: int, seed: int) -> list[int]:
        settings = SamplingParams(
            n=samples, temperature=1.0, max_tokens=tokens, seed=seed, detokenize=False
        )
        answers = model.generate(
            [{"prompt_token_ids": ids} for ids in asked], settings, use_tqdm=False
        )
        # A stage asks each prompt once: the next block must not find them computed.
        assert model.reset_prefix_cache()
        return [len(one.token_ids) for answer in answers for one in answer.outputs]

    # What is compiled for each shape is no block's.
    draw(2, 0)
    counted, seed, done = Drawn(), 0, None
    while True:
        turns.next(done)
        seed += 1
        done = counted.block(draw(NEW_TOKENS, seed), 0)
