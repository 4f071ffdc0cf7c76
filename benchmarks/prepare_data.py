"""How fast preferences are prepared: read, cleaned, split, sharded, proved disjoint.

    python benchmarks/prepare_data.py [--pairs 100000] [--gzip]

Writes synthetic pairs, prepares them in a process of its own and prints seconds, pairs per second
and peak memory, beside the time of reading and writing the same file once with json alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from string import ascii_lowercase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import child, timed


def main() -> None:
    """Run the benchmark and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000, help="pairs to prepare")
    parser.add_argument("--gzip", action="store_true", help="prepare from a gzip file")
    parser.add_argument(
        "--child", nargs=3, metavar=("WORK", "FILE", "OUTPUT"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.child:
        work, file, output = options.child
        print(json.dumps(run_child(work, Path(file), Path(output))))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / ("pairs.jsonl.gz" if options.gzip else "pairs.jsonl")
        write_pairs(source, options.pairs)
        copied = child(__file__, "--child", "copy", source, Path(folder) / "copy.jsonl")
        prepared = child(__file__, "--child", "prepare", source, Path(folder) / "prepared")
        megabytes = source.stat().st_size / 2**20
    rate = options.pairs / prepared["seconds"]
    print(f"source                 {options.pairs:,} pairs, {megabytes:.0f} MB")
    print(f"prepare                {prepared['seconds']:.1f} s, {rate:,.0f} pairs/s")
    print(f"  of it on the processor {prepared['cpu']:.1f} s")
    print(f"peak memory            {prepared['peak_mb']:.0f} MB")
    print(f"one json pass          {copied['seconds']:.1f} s, {copied['peak_mb']:.0f} MB")
    print(f"prepare / json pass    {prepared['seconds'] / copied['seconds']:.1f}")
    print(f"groups per part        {prepared['counts']}")


def write_pairs(path: Path, count: int) -> None:
    """Write pairs of about the lengths of HH-RLHF: one to four turns, repeated first turns."""
    rng = random.Random(0)
    words = ["".join(rng.choices(ascii_lowercase, k=rng.randint(2, 9))) for _ in range(5000)]

    def text(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    firsts = [text(8, 30) for _ in range(max(1, count // 2))]
    opened = gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w")
    with opened as file:
        for number in range(count):
            prompt = f"\n\nHuman: {rng.choice(firsts)}\n\nAssistant:"
            for _ in range(rng.randint(0, 3)):
                prompt += f" {text(10, 60)}\n\nHuman: {text(5, 30)}\n\nAssistant:"
            row = {"id": number, "prompt": prompt, "chosen": text(10, 80), "rejected": text(10, 80)}
            file.write(json.dumps(row) + "\n")


def run_child(work: str, source: Path, output: Path) -> dict:
    """Copy or prepare in this process and measure it; imports are not counted."""
    from tasks.data.config import DataConfig
    from tasks.data.prepare import prepare
    from tasks.data.sources.config import SourceConfig
    from tasks.settings.log import NullLog

    metrics: dict[str, float] = {}

    def copy() -> None:
        opened = gzip.open(source, "rt") if source.suffix == ".gz" else open(source)
        with opened as file, open(output, "w") as copied:
            copied.writelines(json.dumps(json.loads(line)) + "\n" for line in file)

    def prepared() -> None:
        config = DataConfig(preferences=[SourceConfig(path=str(source))])
        metrics.update(prepare(config, output, NullLog()))

    seconds = timed(copy if work == "copy" else prepared)
    counts = {name: int(value) for name, value in metrics.items() if "/" not in name}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu": time.process_time(), "peak_mb": peak, "counts": counts}


if __name__ == "__main__":
    main()
