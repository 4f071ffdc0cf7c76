"""What the evaluations of a small APO run left behind, written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.config import Entry, ReportConfig
from tasks.storage.files import write_json

ENTRIES = (
    Entry(name="start", side="start", epoch=0, scoring="-"),
    Entry(name="chosen", side="chosen", epoch=0, scoring="-"),
    Entry(name="golden-SFT", side="golden-SFT", epoch=0, scoring="-"),
    Entry(name="RJS-v1", side="RJS", epoch=1, scoring="RM_Base"),
    Entry(name="APO-RJS-v1", side="APO-RJS", epoch=1, scoring="RM_APO-v1", rival="RJS-v1"),
)
REPORT = ReportConfig(
    entries=ENTRIES,
    method="rjs",
    objective="apo_rm",
    apo_epochs=1,
    examples=2,
    samples=4,
    seen_by_testers=("RM_Test", "RM_All"),
)


def estimate(value: float, error: float = 0.1) -> dict[str, float]:
    return {"value": value, "standard_error": error, "count": 2}


def verdict(win: float, lose: float, difference: float, error: float) -> dict[str, float]:
    shares = {"win": win, "lose": lose, "tie": 1 - win - lose, "prompts": 2.0}
    return {**shares, "difference": difference, "difference_se": error}


def policy(name: str, score: float, **more: Any) -> dict[str, Any]:
    habits = {"length": 10.0, "ended": 1.0, "length_reward_correlation": 0.25}
    habits |= more.pop("habits", {})
    return {
        "queries": 2,
        "scores": {"RM_Test": estimate(score), "RM_All": estimate(score + 1)},
        "habits": {**habits, "length_se": 0.5, "ended_se": 0.0},
        "per_prompt": {
            key: {"scores": {"RM_Test": [score] * 4, "RM_All": [score + 1] * 4}, "best": None}
            for key in ("p", "q")
        },
        "examples": [
            {"id": key, "prompt": f"<b>ask {key}</b>", "response": f"<script>{name} {key}</script>"}
            for key in ("p", "q")
        ],
        "against": {},
        **more,
    }


def pairs(accuracy: float, ece: float = 0.1, **more: float) -> dict[str, Any]:
    figures = {
        "accuracy": accuracy,
        "accuracy_se": 0.02,
        "accuracy_pairs": 400.0,
        "ece": ece,
        "margin": 0.5,
        "margin_se": 0.05,
        "longer_wins": 0.6,
        "length_matched": 0.55,
        "length_matched_pairs": 7.0,
        "length_correlation": 0.3,
    }
    return {"figures": figures | more, "bins": [], "margins": []}


def policies() -> dict[str, Any]:
    beats_start = {"RM_Test": verdict(0.6, 0.3, 0.5, 0.1), "RM_All": verdict(0.5, 0.5, 0.0, 0.1)}
    rival = {"RM_Test": verdict(0.7, 0.2, 0.3, 0.1), "RM_All": verdict(0.4, 0.5, -0.1, 0.1)}
    interval = {"low": 0.1, "high": 0.4}
    gap = {"share": 0.25, "interval": interval, "start": 0.0, "policy": 1.0, "best": 4.0}
    return {
        "start": policy("start", 1.0, kl=estimate(0.0)),
        "chosen": policy("chosen", 1.5, habits={"length": 400.0}),
        "golden-SFT": policy("golden-SFT", 1.2, kl=estimate(0.2), against={"start": beats_start}),
        "RJS-v1": policy("RJS-v1", 1.5, kl=estimate(0.3), against={"start": beats_start}),
        "APO-RJS-v1": policy(
            "APO-RJS-v1",
            1.8,
            kl=estimate(0.4),
            against={"start": beats_start, "RJS-v1": rival},
            habits={"length": 16.0, "ended": 0.85},
            gap_closed=gap,
        ),
    }


def reward_models() -> dict[str, Any]:
    accuracies = {"RM_Test": 0.8, "RM_All": 0.82, "RM_Base": 0.7, "RM_APO-v1": 0.72}
    accuracies["RM_WGAN-v1"] = 0.65
    return {
        name: {"test": pairs(accuracy), "dev": pairs(accuracy - 0.1, ece=accuracy / 10)}
        for name, accuracy in accuracies.items()
    }


def games() -> dict[str, Any]:
    told = {"1/base": 0.8, "1/before": 0.8, "1/adapted": 0.9, "2/base": 0.6, "2/before": 0.5}
    return {name: {"fresh": pairs(accuracy)} for name, accuracy in told.items()}


@dataclass
class ApoRun:
    """The evaluations by name, and the settings of the report."""

    config: ReportConfig = REPORT
    policies: dict[str, Any] = field(default_factory=policies)
    reward_models: dict[str, Any] = field(default_factory=reward_models)
    games: dict[str, Any] = field(default_factory=games)
    gold: int = 3
    quality: dict[str, Any] = field(default_factory=lambda: {"kinds": {}, "lengths": None})

    @property
    def table_1(self) -> dict[str, Any]:
        counts = {"rm_train": 50, "policy_train": 40, "dev": 12, "test": 20}
        parts = {name: {"groups": groups, "prompts": 30} for name, groups in counts.items()}
        return {"parts": parts}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write every file, and return the first arguments of `assemble_apo_report`."""
        write_json(folder / "table1.json", self.table_1)
        (folder / "gold" / "train").mkdir(parents=True)
        write_json(folder / "gold" / "train" / "index.json", {"count": self.gold, "shards": []})
        write_json(folder / "gold" / "quality.json", self.quality)
        kinds = {
            "policies": self.policies,
            "reward_models": self.reward_models,
            "games": self.games,
        }
        write_json(folder / "examined" / "examination.json", {"sentence": "data: all of it"})
        paths: dict[str, Any] = {
            "counts": folder / "table1.json",
            "examination": folder / "examined",
            "gold": folder / "gold",
        }
        for kind, found in kinds.items():
            paths[kind] = {name: folder / kind / name.replace("/", "-") for name in found}
            for name, path in paths[kind].items():
                path.mkdir(parents=True)
                write_json(path / "evaluation.json", found[name])
        return paths


@pytest.fixture
def apo_run() -> ApoRun:
    return ApoRun()
