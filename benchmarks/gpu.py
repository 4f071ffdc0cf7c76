"""The rows of the engine on a GPU: a Llama shape of about 1B parameters, sequences of 1,024.

    python benchmarks/gpu.py [--row NAME …] [--json FILE]

Runs wherever torch sees a GPU, with made-up text, so that nothing else is needed there; without a
GPU it says so and ends. `--device cpu --tiny` shows on any machine that it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine.__main__ import QUICK
from benchmarks.engine.preparing import prepared
from benchmarks.engine.rows import MOST_PAIRS, rows
from benchmarks.engine.running import Run, chosen_rows, end_with_workers, table
from benchmarks.engine.setting import ROOT, Setting
from tasks.models.architecture import ArchitectureConfig
from tasks.models.tokens.encoding import Limits

BIG = Setting(
    model=ArchitectureConfig(
        hidden_size=2048, layers=16, heads=32, kv_heads=8, feed_forward=8192, context=2048
    ),
    vocabulary=32_000,
    source="words",
    limits=Limits(max_prompt_tokens=768, max_response_tokens=256),
    pairs=1024,
    words=(700, 230),
    teaching_steps=40,
)
"""That of Llama 3.2 1B, with a smaller vocabulary; prompts of up to 768 tokens, responses 256."""


def main() -> None:
    """Run the rows on the GPU, or say that there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to see that it runs")
    parser.add_argument("--blocks", type=int, default=3, help="fewest pairs of blocks per row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-gpu")
    options = parser.parse_args()
    if not 1 <= options.blocks <= MOST_PAIRS:
        parser.error(f"--blocks is {options.blocks}: there are data for 1 to {MOST_PAIRS}")
    end_with_workers()
    if options.device == "cpu":
        # The workers look for a GPU themselves.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not _has_gpu():
        print("no GPU: nothing measured (--device cpu --tiny shows that the script runs)")
        return
    # `make vllm` brings it for processors.
    known = [row for row in rows(quick=options.tiny) if row.peer.needs != "vllm"]
    chosen = chosen_rows(known, options.row)
    setting = QUICK if options.tiny else BIG
    folder = prepared(setting, options.folder.resolve(), options.device)
    most = options.blocks if options.tiny else max(options.blocks, 7)
    run = Run(setting, folder, options.blocks, most)
    sys.exit(0 if table(run, chosen, options.json) else 1)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
