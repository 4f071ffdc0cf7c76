"""The engine against its peers, in one table.

    python -m benchmarks.engine [--rows NAME,…] [--resume] [--grid] [--profile] [--quick]

The peer's best setting is searched first. Then each side is a process of its own: both are loaded
and warm, and blocks of work alternate A B A B …; the ratio is the median over neighbours. Both
report losses, log-probabilities or rewards for the same tokens, and a row whose sides differ fails.
A row is in the file of --out as soon as it is measured, and --resume goes on with the last series.

SPARRING_DATA names the folder with hh/pairs.train.jsonl.gz; `pip install -e '.[bench]'` brings TRL,
`make vllm` vLLM, `make model` the model of the rows at real size. What is not there, its row says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.engine.preparing import prepared
from benchmarks.engine.rows import MOST_PAIRS, grid, rows
from benchmarks.engine.running import Run, chosen_rows, end_with_workers, profile, table
from benchmarks.engine.setting import REAL, ROOT, Setting
from tasks.models.architecture import ArchitectureConfig
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError

QUICK = Setting(
    model=ArchitectureConfig(hidden_size=32, layers=2, heads=2, feed_forward=64, context=1024),
    vocabulary=512,
    source="words",
    limits=Limits(max_prompt_tokens=256, max_response_tokens=96),
    pairs=64,
    words=(20, 8),
    teaching_steps=4,
)
"""A setting that shows in a minute whether a row runs; its figures mean nothing."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows",
        metavar="NAME,…",
        type=lambda names: names.split(","),
        help="only these rows; `all` for those too that are not usually measured",
    )
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--grid", action="store_true", help="how the cost grows, instead")
    parser.add_argument("--profile", action="store_true", help="where our time goes, instead")
    parser.add_argument("--quick", action="store_true", help="a tiny setting, to see that it runs")
    parser.add_argument("--words", action="store_true", help="made-up text instead of HH pairs")
    parser.add_argument("--blocks", type=int, default=3, help="fewest pairs per row, at most 11")
    parser.add_argument("--resume", action="store_true", help="go on with the last series")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="keeps the rows; default rows.jsonl in the folder"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "bench", help="where models and data go"
    )
    options = parser.parse_args()
    if not 1 <= options.blocks <= MOST_PAIRS:
        parser.error(f"--blocks is {options.blocks}: there are data for 1 to {MOST_PAIRS}")
    end_with_workers()
    known = grid(quick=options.quick) if options.grid else rows(quick=options.quick)
    if options.list:
        for row in known:
            print(f"{row.name:32} {row.title}{'' if row.usual else ' (by name only)'}")
        return
    chosen = chosen_rows(known, options.rows or (["dpo-k2"] if options.profile else None))
    setting = QUICK if options.quick else Setting(source="words" if options.words else "hh")
    try:
        folder = prepared(setting, options.folder.resolve(), "cpu")
    except ConfigError as error:
        sys.exit(str(error))
    run = Run(
        setting,
        folder,
        options.blocks,
        max(options.blocks, 1 if options.quick else 7),
        None if options.quick else REAL.model_copy(update={"source": setting.source}),
    )
    if options.profile:
        print("\n\n".join(f"{row.name}\n{profile(run, row)}" for row in chosen))
        return
    output = options.out or options.folder / "rows.jsonl"
    sys.exit(0 if table(run, chosen, output, resume=options.resume) else 1)


if __name__ == "__main__":
    main()
