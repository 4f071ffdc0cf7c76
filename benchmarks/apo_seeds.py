"""APO on the playground over several seeds: what adapts, what the policy gains, against RM_Base.

Each seed has a world, a split and a run of its own. Prints a markdown table, one row per seed.

Run: python benchmarks/apo_seeds.py --seeds 0 1 2 3 4 --jobs 2 --folder /tmp/apo-seeds
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import sparring


class Row(NamedTuple):
    """The figures of one seed."""

    seed: int
    adapted: float
    """Gold above fresh samples on held-out prompts, adapted reward model, mean over epochs."""
    base: float
    """The same for RM_Base."""
    gain_se: float
    """Standard error of the paired difference, clustered by prompt, of the last epoch."""
    human: float
    """Accuracy on human dev and test pairs, adapted minus RM_Base, last epoch."""
    human_se: float
    """Its paired standard error."""
    apo: float
    """Share of the oracle gap the last APO policy closes."""
    apo_low: float
    apo_high: float
    baseline: float
    """The same for the last policy under the fixed RM_Base."""
    difference: float
    """Oracle reward per prompt, APO minus baseline, last epoch."""
    difference_se: float


def main() -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=Path("apo-seeds"), help="where runs go")
    parser.add_argument("--config", default="apo-tiny")
    parser.add_argument("--set", dest="overrides", nargs="*", default=[])
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda seed: run_seed(seed, options), options.seeds))
    print(markdown(rows))


def run_seed(seed: int, options: argparse.Namespace) -> Row:
    """Run one seed in a folder of its own and return its figures."""
    folder = (options.folder / f"seed-{seed}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["run", "apo", "-c", options.config]
    seeds = [f"{key}seed={seed}" for key in ("", "data.playground.", "data.split.")]
    for setting in (*seeds, *options.overrides):
        command += ["--set", setting]
    where = {"cwd": folder}
    where["env"] = {"OMP_NUM_THREADS": "1", "SPARRING_HOME": str(folder / "home")}
    with open(folder / "log.txt", "wb") as log:
        if sparring(*command, stdout=log, stderr=subprocess.STDOUT, **where).wait():
            raise RuntimeError(f"the run of seed {seed} failed: {folder / 'log.txt'}")
    shown, _ = sparring("report", "latest", "--json", stdout=subprocess.PIPE, **where).communicate()
    row = figures(seed, json.loads(shown)["numbers"])
    print(row, file=sys.stderr, flush=True)
    return row


def figures(seed: int, numbers: dict[str, Any]) -> Row:
    """Take one seed's figures from its report."""
    games, models, policies = numbers["games"], numbers["reward_models"], numbers["policies"]
    epochs = sorted(int(name.split("/")[0]) for name in games if name.endswith("/adapted"))
    last = epochs[-1]

    def accuracy(role: str) -> float:
        return mean(games[f"{epoch}/{role}"]["fresh"]["figures"]["accuracy"] for epoch in epochs)

    gain = paired(
        games[f"{last}/adapted"]["fresh"]["margins"], games[f"{last}/base"]["fresh"]["margins"]
    )
    adapted, base = models[f"RM_APO-v{last}"], models["RM_Base"]
    human = paired(
        adapted["dev"]["margins"] + adapted["test"]["margins"],
        base["dev"]["margins"] + base["test"]["margins"],
    )
    apo = max((n for n in policies if n.startswith("APO-")), key=lambda n: int(n[-1]))
    rival = apo.removeprefix("APO-")
    gap = policies[apo]["gap_closed"]
    against = policies[apo]["against"][rival]["oracle"]
    return Row(
        seed,
        accuracy("adapted"),
        accuracy("base"),
        gain[1],
        *human,
        gap["share"],
        gap["interval"]["low"],
        gap["interval"]["high"],
        policies[rival]["gap_closed"]["share"],
        against["difference"],
        against["difference_se"],
    )


def paired(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return the difference in accuracy and its standard error, paired over groups."""
    gaps = [
        mean(margin > 0 for margin in a) - mean(margin > 0 for margin in b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return mean(gaps), stdev(gaps) / sqrt(len(gaps))


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = [
        "| seed | gold above fresh: adapted | RM_Base | ± s.e. of the difference | human pairs, "
        "adapted − base | gap closed, APO | baseline | APO − baseline, oracle points |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.seed} | {row.adapted:.1%} | {row.base:.1%} | {row.gain_se:.1%} "
            f"| {row.human:+.1%} ± {row.human_se:.1%} "
            f"| {row.apo:.0%} ({row.apo_low:.0%} to {row.apo_high:.0%}) | {row.baseline:.0%} "
            f"| {row.difference:+.3f} ± {row.difference_se:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
