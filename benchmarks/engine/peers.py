"""Who is compared: our own sides, and peers with the settings that each may be tuned by."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from benchmarks.engine.search import Choice, Variants
from benchmarks.engine.setting import ROOT

VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
_SIDES = "benchmarks.engine.sides"


@dataclass(frozen=True)
class Side:
    """One way to do the work of a row."""

    name: str
    """As the table shows it."""
    function: str
    """Where it is: `module:function`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""
    python: str = sys.executable
    """The interpreter that runs it."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables beside those of this process."""


@dataclass(frozen=True)
class Peer(Side):
    """What we are compared with."""

    variants: Variants = Variants()
    """Further keyword arguments, of which a search finds the best."""
    searching: dict[str, Any] = field(default_factory=dict)
    """Options that differ during the search, which needs few data."""
    needs: Literal["", "trl", "vllm"] = ""
    """What has to be installed beside the project."""

    def missing(self) -> str:
        """Return what is not installed and what installs it; empty where all is there."""
        if self.needs == "trl" and find_spec("trl") is None:
            return "TRL is not installed: pip install -c constraints.txt -e '.[bench]'"
        if self.needs == "vllm" and not Path(self.python).exists():
            return "vLLM is not installed: make vllm"
        return ""

    def set_to(self, choice: Choice, *, searching: bool = False) -> Side:
        """Return the peer in one setting, for the row or for the search."""
        options = self.options | (self.searching if searching else {}) | choice
        environment = dict(self.environment)
        # A library is loaded before the interpreter, or not at all.
        if preload := options.pop("preload", ""):
            environment["LD_PRELOAD"] = preload
        return Side(self.name, self.function, options, self.python, environment)


def trl_dpo(plan: dict[str, Any], *, quick: bool = False) -> Peer:
    """TRL's DPO, by what `Training` plans."""
    return Peer(
        "TRL DPOTrainer",
        f"{_SIDES}.trl_trainers:dpo",
        plan,
        variants=_of_training(quick, plan["batch"], {"precomputed": (False, True)}),
        searching={"blocks": 1},
        needs="trl",
    )


def trl_reward(plan: dict[str, Any], *, quick: bool = False) -> Peer:
    """TRL's reward model, by what `Training` plans."""
    return Peer(
        "TRL RewardTrainer",
        f"{_SIDES}.trl_trainers:reward",
        plan,
        variants=_of_training(quick, plan["batch"]),
        searching={"blocks": 1},
        needs="trl",
    )


def padded_groups(plan: dict[str, Any], *, quick: bool = False) -> Peer:
    """A padded row per response, and the logits of all their tokens."""
    return Peer(
        "padded row per response, all logits",
        f"{_SIDES}.padded_path:train",
        plan,
        variants=_of_training(quick, plan["batch"]),
        searching={"blocks": 1},
    )


def generate(work: dict[str, Any], *, quick: bool = False) -> Peer:
    """Sampling by transformers' `generate`."""
    batches = (8,) if quick else (16, 64)
    variants = Variants({"batch": batches})
    return Peer("generate", f"{_SIDES}.sampling:generate", work, variants=variants)


def vllm(work: dict[str, Any], *, quick: bool = False) -> Peer:
    """Sampling by vLLM, in its own environment and on all cores."""
    return Peer(
        "vLLM",
        f"{_SIDES}.vllm_sampling:sample",
        work,
        str(VLLM_PYTHON),
        {
            # In one process, whose peak memory is then that of all.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # Left to itself it keeps a core for its scheduler.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "LD_LIBRARY_PATH": str(VLLM_PYTHON.parents[1] / "lib"),
        },
        # Its manual advises to load Intel's OpenMP first.
        Variants(
            {"eager": (True,) if quick else (True, False)},
            {"preload": ("",) if quick else ("", "libiomp5.so")},
        ),
        needs="vllm",
    )


def _of_training(quick: bool, batch: int, alone: dict[str, Any] | None = None) -> Variants:
    """Return micro-batches up to the whole step, in the plan's order or sorted by length."""
    sizes = (batch,) if quick else tuple(size for size in (1, 2, 4, 16) if size <= batch)
    crossed: dict[str, Any] = {"micro_batch": sizes, "by_length": (False, True)}
    changed = {"checkpointing": (False, True)} | (alone or {})
    held = {name: values[:1] for name, values in changed.items()}
    return Variants(crossed, held if quick else changed)
