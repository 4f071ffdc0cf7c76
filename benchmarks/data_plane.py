"""What a million prompts with eight responses each cost before the first matrix product.

    python benchmarks/data_plane.py [--sizes 5000 10000 20000] [--responses 8] [--words]

Each size runs in a process of its own through every step that data take: written in shards, read,
read at random, tokenised into flat arrays, planned and packed into rows for training, digested as a
commit does, and keyed. Printed: seconds per step and size; whether they are linear; what they come
to for 1,000,000 prompts; and the memory, which must not grow with the number of prompts. Private
memory is what the process itself holds: pages of mapped files, which the kernel takes back when it
needs them, are in the resident size only.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine.setting import TEMPLATE, Setting, pairs
from benchmarks.harness import child
from tasks.data.batches import BatchPlan
from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group
from tasks.models.base_policy import corpus_texts
from tasks.models.groups.packing import pack
from tasks.models.tokens.encoding import Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tasks.settings.errors import ConfigError
from tasks.stages.key import stage_key
from tasks.storage.digests import digest_tree, directory_md5
from tasks.training.data.encoded import EncodedFolder, EncodedWriter
from tasks.training.data.micro_batches import pieces_of

MILLION = 1_000_000
SHARD = 2_000
LIMITS = Limits(max_response_tokens=128, on_long_response="truncate_without_eos")
BATCH, BUDGET = 64, 8192
STEPS = ("write", "read", "read at random", "tokenise", "plan and pack", "digest", "key")


def main() -> None:
    """Measure every size and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000, 20_000])
    parser.add_argument("--responses", type=int, default=8, help="per prompt")
    parser.add_argument("--words", action="store_true", help="made-up text instead of HH pairs")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "PROMPTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = Setting(source="words" if options.words else "hh")
    if options.child:
        folder, count = Path(options.child[0]), int(options.child[1])
        print(json.dumps(measured(setting, folder, count, options.responses)))
        return
    with tempfile.TemporaryDirectory() as name:
        try:
            train_tokenizer(corpus_texts(pairs(setting)), 8000, Path(name) / "tokenizer")
        except ConfigError as error:
            sys.exit(str(error))
        more = ["--responses", options.responses, *(["--words"] * options.words)]
        sizes = sorted(options.sizes)
        found = [child(__file__, "--child", name, count, *more) for count in sizes]
    print(report(found, options.responses))


def measured(setting: Setting, folder: Path, count: int, responses: int) -> dict[str, Any]:
    """Take `count` prompts through every step.

    Returns:
        Seconds by step, on the clock and on the processor, bytes of the text and of the ids,
        tokens, peak memory in MB.
    """
    tokenizer = load_tokenizer(folder / "tokenizer")
    memory = Memory()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        texts, ids = Path(scratch) / "groups", Path(scratch) / "ids"
        works: list[Callable[[], Any]] = [
            lambda: write_groups(texts, memory.watched(made(setting, count, responses)), SHARD),
            lambda: sum(1 for _ in memory.watched(read_groups(texts))),
            lambda: read_at_random(texts, count),
            lambda: tokenised(tokenizer, texts, ids, memory),
            lambda: packed(ids, memory),
            lambda: directory_md5(digest_tree(texts) + digest_tree(ids)),
            lambda: stage_key("update", 1, config={}, inputs={"ids": "0" * 32}, seed=0),
        ]
        seconds, busy = {}, {}
        for step, work in zip(STEPS, works, strict=True):
            began = time.perf_counter(), time.process_time()
            work()
            seconds[step] = time.perf_counter() - began[0]
            busy[step] = time.process_time() - began[1]
            memory.look()
        return {
            "prompts": count,
            "seconds": seconds,
            "busy": busy,
            "text_bytes": sum(path.stat().st_size for path in texts.iterdir()),
            "id_bytes": sum(path.stat().st_size for path in ids.iterdir()),
            "tokens": EncodedFolder(ids).counts["tokens"],
            "private_mb": memory.peak / 1e6,
            "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        }


class Memory:
    """The most private memory of this process, looked at every thousand groups."""

    def __init__(self) -> None:
        """Look for the first time."""
        self.peak = 0.0
        self.look()

    def look(self) -> None:
        """Take in what the process holds now."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                self.peak = max(self.peak, float(line.split()[1]) * 1024)

    def watched(self, groups: Iterator[Any]) -> Iterator[Any]:
        """Yield what is given, looking on the way."""
        for number, group in enumerate(groups):
            if number % 1000 == 0:
                self.look()
            yield group


def made(setting: Setting, count: int, responses: int) -> Iterator[Group]:
    """Yield groups whose responses are those of the following pairs, scored."""
    known = list(islice(pairs(setting), 500))
    spare = cycle([text for pair in known for text in pair.responses])
    for number, pair in zip(range(count), cycle(known), strict=False):
        texts = tuple(next(spare) for _ in range(responses))
        scores = tuple(float(place) for place in range(responses))
        yield Group(prompt=pair.prompt, responses=texts, scores=scores, id=str(number))


def read_at_random(folder: Path, count: int) -> None:
    """Open a folder for access by number and read a tenth of it in a shuffled order."""
    groups, draw = GroupFolder(folder), random.Random(0)
    for _ in range(count // 10):
        groups[draw.randrange(count)]


def tokenised(tokenizer: Any, texts: Path, ids: Path, memory: Memory) -> None:
    """Write the token ids of every group."""
    ids.mkdir()
    with EncodedWriter(ids) as writer:
        for group in memory.watched(read_groups(texts)):
            writer.write(group, encode_group(tokenizer, TEMPLATE, group, LIMITS))


def packed(ids: Path, memory: Memory) -> None:
    """Make every batch of one epoch."""
    groups = EncodedFolder(ids)
    plan = BatchPlan({"groups": len(groups)}, BATCH, epochs=1, seed=0)
    sizes = {"groups": groups.sizes()}
    for step in memory.watched(iter(range(plan.steps))):
        for piece in pieces_of(plan.at(step), sizes, BUDGET, 0, 1):
            pack([groups.encoded(row) for row in piece.rows])


def report(found: list[dict[str, Any]], responses: int) -> str:
    """Return the tables of all sizes."""
    largest, smallest = found[-1], found[0]
    head = " | ".join(f"{size['prompts']:,}" for size in found)
    lines = [
        f"{responses} responses per prompt, {largest['tokens'] / largest['prompts']:.0f} tokens "
        f"per group; {BATCH} groups a step, {BUDGET:,} tokens a pass",
        "",
        f"| seconds for prompts: | {head} | processor time per prompt, last to first | 1,000,000 |",
        "|---" * (len(found) + 3) + "|",
    ]
    whole, whole_busy = 0.0, 0.0
    for step in STEPS[:-1]:
        times = [size["seconds"][step] for size in found]
        busy = [size["busy"][step] / size["prompts"] for size in found]
        whole += times[-1] * MILLION / largest["prompts"]
        whole_busy += busy[-1] * MILLION
        cells = " | ".join(f"{value:.2f}" for value in times)
        growth = f"{busy[-1] / busy[0]:.2f}×" if busy[0] else "–"
        million = times[-1] * MILLION / largest["prompts"]
        lines.append(f"| {step} | {cells} | {growth} | {million:,.0f} s |")
    lines.append("| all" + " | " * (len(found) + 2) + f"{whole / 60:,.0f} min |")
    lines.append("| on the processor" + " | " * (len(found) + 2) + f"{whole_busy / 60:,.0f} min |")
    for name in ("private_mb", "resident_mb"):
        cells = " | ".join(f"{size[name]:,.0f}" for size in found)
        rise = (largest[name] - smallest[name]) / (largest["prompts"] - smallest["prompts"])
        rise = rise if len(found) > 1 else 0.0
        lines.append(f"| {name[:-3]} memory, MB | {cells} | {1000 * rise:+.2f} MB a thousand | |")
    for name in ("text_bytes", "id_bytes"):
        cells = " | ".join(f"{size[name] / 1e6:,.0f}" for size in found)
        size = largest[name] * MILLION / largest["prompts"] / 1e9
        lines.append(f"| {name.split('_')[0]} on disk, MB | {cells} | | {size:,.1f} GB |")
    milliseconds = largest["seconds"]["key"] * 1e3
    return "\n".join([*lines, "", f"key of a stage: {milliseconds:.2f} ms, whatever the size"])


if __name__ == "__main__":
    main()
