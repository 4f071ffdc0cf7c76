"""The figures of a row, and the table that shows them."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from operator import ge, le
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.engine.load import LOADED
from benchmarks.engine.rows import Row
from benchmarks.engine.search import SideError
from benchmarks.engine.setting import ROOT
from benchmarks.engine.turns import Measured, disagreement, ratios

_LIBRARIES = ("torch", "transformers", "trl", "accelerate")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def figures(row: Row, ours: Measured, peer: Measured, others: float) -> dict[str, Any]:
    """Return what a row found, as JSON values; `others` is what else used the machine.

    Without a block of the peer there is no ratio.

    Raises:
        SideError: the sides have nothing to compare, or did not do the same work.
    """
    worst, compared = disagreement(ours.losses, peer.losses)
    if not compared and peer.rates:
        raise SideError(f"{row.name}: the sides report nothing in common")
    if not worst <= row.tolerance:
        raise SideError(
            f"{row.name}: the sides differ by {worst:.2g} (at most {row.tolerance:.2g}), so this "
            f"is not the same work: {_first(ours.losses)} against {_first(peer.losses)}"
        )
    found = ratios(ours, peer) if peer.rates else []
    matmul = ours.notes.get("matmul")
    share = median(ours.operations) / matmul if matmul and any(ours.operations) else None
    return {
        "row": row.name,
        "title": row.title,
        "unit": row.unit,
        "precision": row.precision,
        "ours": row.ours.name,
        "peer": row.peer.name,
        "ours_per_second": median(ours.rates),
        "peer_per_second": median(peer.rates) if found else None,
        "ratio": median(found) if found else None,
        "ratios": found,
        "floor": row.floor,
        "goal": row.goal,
        "ours_gb": ours.peak_gb,
        "peer_gb": peer.peak_gb,
        "memory": ours.peak_gb / peer.peak_gb if peer.peak_gb else None,
        "memory_floor": row.memory_floor,
        "memory_goal": row.memory_goal,
        "matmul_share": share,
        "matmul_gflops": matmul / 1e9 if matmul else None,
        "ours_waste": ours.waste,
        "peer_waste": peer.waste,
        "ours_tokens": ours.computed,
        "peer_tokens": peer.computed,
        "difference": worst,
        "compared": compared,
        "tolerance": row.tolerance,
        "others": others,
    }


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a markdown table, and under it what was tried for each peer.

    The ratio is the median over pairs of blocks, their range behind it; waste is the share of the
    computed tokens that are pads or repeated prompts; the share is that of the best square bf16
    matrix product; others is the share of the processors that other processes used meanwhile,
    in the search or in the turns.
    """
    lines = [
        "| row | ours /s | peer /s | ratio (range, pairs) | floor, goal | memory GB | "
        "matmul share | waste | differ by (values) | others |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        peer = ", ".join(filter(None, (row["peer"], row["choice"], row["missing"])))
        cells = [
            f"{row['row']}: {row['title']}; {row['ours']} against {peer}",
            f"{row['ours_per_second']:.3g} {row['unit']}",
            _number(row["peer_per_second"], ".3g"),
            _ratio(row),
            _promises(row),
            f"{row['ours_gb']:.2f} / {row['peer_gb']:.2f} = {_number(row['memory'], '.2f')}×",
            _number(row["matmul_share"], ".1%"),
            f"{_number(row['ours_waste'], '.1%')} / {_number(row['peer_waste'], '.1%')}",
            f"{row['difference']:.1g} ({row['compared']}), at most {row['tolerance']:.1g}",
            f"{row['others']:.0%}" + (" **loaded**" if row["others"] > LOADED else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for row in found:
        if row["tried"]:
            lines += ["", f"{row['row']}, tried for {row['peer']} (best: {row['choice']}):", ""]
            lines += [f"- {one['text']}" for one in row["tried"]]
    return "\n".join(lines)


def circumstances() -> dict[str, str]:
    """Return what a table must say of itself: when, where, of which commit, by which command."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "commit": _commit(),
        "processor": _processor(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
        "threads": str(torch.get_num_threads()),
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _ratio(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return "no peer"
    low, high = min(row["ratios"]), max(row["ratios"])
    mark = ", loaded machine" if row["others"] > LOADED else ""
    return f"**{row['ratio']:.2f}×** ({low:.2f}–{high:.2f}, {len(row['ratios'])}{mark})"


def _promises(row: dict[str, Any]) -> str:
    """Say of each floor and goal whether it was met."""
    ratio, memory = row["ratio"], row["memory"]
    said = []
    for name, value, reached in (
        ("floor", ratio, ge),
        ("goal", ratio, ge),
        ("memory_floor", memory, le),
        ("memory_goal", memory, le),
    ):
        if (limit := row[name]) is not None:
            verdict = "not known" if value is None else "met" if reached(value, limit) else "missed"
            said.append(f"{name.replace('_', ' ')} {limit:g}×: {verdict}")
    return ", ".join(said) or "–"


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _processor() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    flags = known.get("flags", "").split()
    shown = " ".join(flag for flag in _FLAGS if flag in flags) or "no vector flags"
    return f"{known.get('model name', platform.machine())} ({shown})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _first(values: dict[str, float]) -> dict[str, float]:
    return dict(list(values.items())[:4])
