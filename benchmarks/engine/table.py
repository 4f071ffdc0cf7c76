"""The figures of a row, and the table that shows them."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.engine.rows import Row
from benchmarks.engine.turns import ROOT, Measured, SideError, disagreement, ratios

_LIBRARIES = ("torch", "transformers", "trl", "accelerate")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def figures(row: Row, ours: Measured, peer: Measured, chosen: int) -> dict[str, Any]:
    """Return what a row found against the chosen one of its peers, as JSON values.

    Raises:
        SideError: the sides have nothing to compare, or did not do the same work.
    """
    worst, compared = disagreement(ours.losses, peer.losses)
    if not compared:
        raise SideError(f"{row.name}: the sides report nothing in common")
    if not worst <= row.tolerance:
        raise SideError(
            f"{row.name}: the sides differ by {worst:.2g} (at most {row.tolerance:.2g}), so this "
            f"is not the same work: {_first(ours.losses)} against {_first(peer.losses)}"
        )
    found = ratios(ours, peer)
    matmul = ours.notes.get("matmul")
    share = median(ours.operations) / matmul if matmul and any(ours.operations) else None
    return {
        "row": row.name,
        "title": row.title,
        "unit": row.unit,
        "precision": row.precision,
        "ours": row.ours.name,
        "peer": row.peers[chosen].name,
        "ours_per_second": median(ours.rates),
        "peer_per_second": median(peer.rates),
        "ratio": median(found),
        "ratios": found,
        "floor": row.floor,
        "goal": row.goal,
        "ours_gb": ours.peak_gb,
        "peer_gb": peer.peak_gb,
        "memory": ours.peak_gb / peer.peak_gb,
        "memory_floor": row.memory_floor,
        "matmul_share": share,
        "matmul_gflops": matmul / 1e9 if matmul else None,
        "ours_waste": ours.waste,
        "peer_waste": peer.waste,
        "ours_tokens": ours.computed,
        "peer_tokens": peer.computed,
        "difference": worst,
        "compared": compared,
        "tolerance": row.tolerance,
    }


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a markdown table.

    The ratio is the median over pairs of blocks, their range behind it; waste is the share of the
    computed tokens that are pads or repeated prompts; the share is that of the best square bf16
    matrix product.
    """
    lines = [
        "| row | ours /s | peer /s | ratio (range, pairs) | floor, goal | memory GB | "
        "matmul share | waste | differ by (values) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        low, high = min(row["ratios"]), max(row["ratios"])
        cells = [
            f"{row['row']}: {row['title']}; {row['ours']} against {row['peer']}",
            f"{row['ours_per_second']:.3g} {row['unit']}",
            f"{row['peer_per_second']:.3g}",
            f"**{row['ratio']:.2f}×** ({low:.2f}–{high:.2f}, {len(row['ratios'])})",
            _promise(row),
            f"{row['ours_gb']:.2f} / {row['peer_gb']:.2f} = {row['memory']:.2f}×",
            _percent(row["matmul_share"]),
            f"{_percent(row['ours_waste'])} / {_percent(row['peer_waste'])}",
            f"{row['difference']:.1g} ({row['compared']}), at most {row['tolerance']:.1g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
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


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _promise(row: dict[str, Any]) -> str:
    if row["floor"] is None:
        return "–"
    met = row["ratio"] >= row["floor"]
    limit = row["memory_floor"]
    met = met and (limit is None or row["memory"] <= limit)
    memory = "" if limit is None else f", memory {limit:g}×"
    goal = "" if row["goal"] is None else f", {row['goal']:g}×"
    return f"{row['floor']:g}×{goal}{memory}: {'met' if met else 'not met'}"


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
