"""Evaluations of an AVA run, made up so that every share is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tasks.evaluation.ava.config import OWN, AvaEntry, RewardEntry
from tasks.evaluation.metrics.estimates import clustered_mean

PROMPTS = ("p", "q", "r", "s")


def evaluation(
    oracle: Sequence[float], texts: str, kl: float | None = None, own: float | None = None
) -> dict[str, Any]:
    """Return evaluation.json of a contender with one answer per prompt.

    `texts` has a letter per answer; `own` is what its reward model gives each.
    """
    scores = {"oracle": list(oracle), "RM_Test": [-one for one in oracle]}
    if own is not None:
        scores[OWN] = [own] * len(oracle)
    found: dict[str, Any] = {
        "queries": len(oracle),
        "habits": {"ended": 1.0},
        "per_prompt": {
            key: {
                "scores": {judge: [rows[place]] for judge, rows in scores.items()},
                "best": None,
                "texts": [texts[place]],
            }
            for place, key in enumerate(PROMPTS[: len(oracle)])
        },
        "scores": {
            judge: asdict(clustered_mean([[one] for one in rows])) for judge, rows in scores.items()
        },
        "examples": [{"id": "p", "prompt": "ask <b>p</b>", "response": f"text {texts[0]}"}],
    }
    if kl is not None:
        found["kl"] = {"value": kl, "standard_error": 0.1, "count": len(oracle)}
    return found


def entry(line: str, kind: Any, objective: str, data: str = "preferences", **own: Any) -> AvaEntry:
    """Return an entry of an arm with seed 0, unless `own` says otherwise."""
    seed = own.get("seed", 0)
    return AvaEntry(
        name=f"{line} s{seed}", line=line, kind=kind, objective=objective, data=data, **own
    )


START = AvaEntry(name="start", line="start", kind="start")


def reward(line: str, objective: str, seed: int = 0, **own: Any) -> RewardEntry:
    """Return a reward model's entry; it learnt from preferences unless `own` says otherwise."""
    own = {"data": "preferences"} | own
    return RewardEntry(name=f"{line} s{seed}", line=line, objective=objective, seed=seed, **own)


def measured(margins: Sequence[float], last: float, whole: float, **own: float) -> dict[str, Any]:
    """Return evaluation.json of a TQR on the test pairs, one pair per prompt."""
    figures = {
        "accuracy": last,
        "accuracy_se": 0.1,
        "accuracy_pairs": float(len(margins)),
        "longer_wins": 0.55,
        "longer_wins_se": 0.05,
        "length_correlation": 0.2,
        "last_accuracy": last,
        "last_accuracy_se": 0.1,
        "return_accuracy": whole,
        "return_accuracy_se": 0.1,
        **own,
    }
    return {"test": {"figures": figures, "margins": [[gap] for gap in margins]}}


def diagnosed(spot: float = 0.3, text: str = " fox", oracle: bool = True) -> dict[str, Any]:
    """Return report.json of a diagnosis in which rewards point at tokens from 0.1 on."""
    control = {"control": 0.0, "control_low": -0.1, "control_high": 0.1, "tokens": 90}
    views = {"seen": spot, "next": 0.05} if oracle else {}
    metrics = {"td_q05": 0.1, "td_q50": 0.8, "td_q95": 4.0, "floored_share": 0.25}
    tokens = [
        {"text": text, "reward": 0.5, "penalty": 0.0},
        {"text": " stupid", "reward": -1.25, "penalty": 1.0},
    ]
    responses = [{"title": "Better", "score": -1.25, "start": 0.25, "tokens": tokens}]
    return {
        "numbers": {
            "metrics": {**metrics, "within_1_std": 0.5, "within_2_std": 0.9},
            "correlations": {name: {"value": value, **control} for name, value in views.items()},
            "std": {"counts": [1, 3], "edges": [0.05, 1.0, 20.0]},
            "beginnings": [
                {"name": name, "tokens": size, "accuracy": asdict(share), "ties": 0.0}
                for name, size, share in (
                    ("2", 2, clustered_mean([[1.0], [0.0]])),
                    ("whole", 9, clustered_mean([[1.0], [1.0]])),
                )
            ],
            "examples": [{"prompt": f"user: {place}?", "responses": responses} for place in "abc"],
        }
    }
