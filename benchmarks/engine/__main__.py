"""The engine against its peers, in one table.

    python -m benchmarks.engine [--row NAME …] [--grid] [--profile] [--quick] [--json FILE]

Each side of a row is a process of its own: both are loaded and warm, then blocks of work alternate
A B A B …; the ratio is the median over neighbours. Both report losses, log-probabilities or rewards
for the same tokens, and a row whose sides differ fails. SPARRING_DATA names the folder with
hh/pairs.train.jsonl.gz; `pip install -e '.[bench]'` brings TRL.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.engine.rows import MOST_PAIRS, grid, rows
from benchmarks.engine.running import Run, chosen_rows, end_with_workers, profile, table
from benchmarks.engine.setting import Setting, prepared
from benchmarks.engine.turns import ROOT
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
    parser.add_argument("--row", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--grid", action="store_true", help="how the cost grows, instead")
    parser.add_argument("--profile", action="store_true", help="where our time goes, instead")
    parser.add_argument("--quick", action="store_true", help="a tiny setting, to see that it runs")
    parser.add_argument("--words", action="store_true", help="made-up text instead of HH pairs")
    parser.add_argument("--blocks", type=int, default=3, help="fewest pairs per row, at most 11")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "bench", help="where models and data go"
    )
    options = parser.parse_args()
    if not 1 <= options.blocks <= MOST_PAIRS:
        parser.error(f"--blocks is {options.blocks}: there are data for 1 to {MOST_PAIRS}")
    end_with_workers()
    known = grid(quick=options.quick) if options.grid else rows(quick=options.quick)
    if options.list:
        print("\n".join(f"{row.name:32} {row.title}" for row in known))
        return
    chosen = chosen_rows(known, options.row or (["dpo-k2"] if options.profile else None))
    setting = QUICK if options.quick else Setting(source="words" if options.words else "hh")
    try:
        folder = prepared(setting, options.folder.resolve(), "cpu")
    except ConfigError as error:
        sys.exit(str(error))
    run = Run(setting, folder, options.blocks, max(options.blocks, 1 if options.quick else 7))
    if options.profile:
        print("\n\n".join(f"{row.name}\n{profile(run, row)}" for row in chosen))
        return
    sys.exit(0 if table(run, chosen, options.json) else 1)


if __name__ == "__main__":
    main()
