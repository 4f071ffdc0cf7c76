"""All metrics of one reward model on named sets of groups, written where the report finds them.

A TQR has two scores for a response, and as a policy a log-likelihood: one pass gives the accuracy
of all, and the metrics are those of the score that is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.files import read_groups
from tasks.data.groups import Group, scores_of
from tasks.evaluation.config import EVALUATION, RewardModelEvaluation
from tasks.evaluation.metrics.calibration import CalibrationReport, calibration_report
from tasks.evaluation.metrics.estimates import Estimate, clustered_mean
from tasks.evaluation.metrics.length_drift import pearson
from tasks.evaluation.metrics.preference_accuracy import preference_report
from tasks.evaluation.report.reliability_diagram import reliability_diagram
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.score_shards import scored_groups
from tasks.models.scoring.scorers import RewardModelScorer
from tasks.models.tqr.marker import tqr_config
from tasks.settings.log import Log
from tasks.storage.files import write_json


@dataclass(frozen=True, slots=True)
class Pairs:
    """Scored groups as pairs: column 0, the better response, with each further column."""

    margins: list[list[float]]
    """r(column 0) − r(column k) per group, reward units."""
    better: list[float]
    """Reward of column 0, once per pair."""
    worse: list[float]
    """Reward of the other column."""
    better_lengths: list[int]
    """Characters of column 0, once per pair: the same unit for every tokenizer."""
    worse_lengths: list[int]
    """Characters of the other column."""
    length_correlation: float
    """Pearson correlation of characters and reward over all responses."""


def measure_reward_model(
    reward_model: Path,
    pairs: Mapping[str, Path],
    config: RewardModelEvaluation,
    output: Path,
    log: Log,
) -> dict[str, float]:
    """Score sets of groups and measure how their column 0, the better response, is ranked.

    `evaluation.json` and the reliability diagram are written; metrics are named `SET/NAME`.
    """
    kind = _Tqr if tqr_config(reward_model) else _Plain
    model = kind(reward_model, config.scoring, log)
    metrics: dict[str, Any] = {}
    reports = {}
    for done, (name, folder) in enumerate(sorted(pairs.items()), start=1):
        own, *others = model.readings(list(read_groups(folder)), log)
        reports[name], metrics[name] = metrics_of(take_apart(own.groups), config.bins)
        for other in others:
            metrics[name]["figures"] |= beside(other.name, take_apart(other.groups))
        log.progress(done, len(pairs), "sets")
    reliability_diagram(reports, output)
    write_json(output / EVALUATION, metrics)
    return {
        f"{name}/{key}": float(value)
        for name, found in metrics.items()
        for key, value in found["figures"].items()
    }


class Reading(NamedTuple):
    """Groups as one way to score them sees them."""

    name: str
    """What its metrics begin with; empty for a model that has one score only."""
    groups: list[Group]
    """With its scores."""


class _Plain:
    """A model with one score."""

    def __init__(self, path: Path, config: ScoringConfig, log: Log) -> None:
        self._scorer = RewardModelScorer.load(path, config, log)

    def readings(self, groups: list[Group], log: Log) -> list[Reading]:
        return [Reading("", scored_groups(self._scorer, groups, log))]


class _Tqr:
    """A TQR: its own score first, then every reading of its tokens by name."""

    def __init__(self, path: Path, config: ScoringConfig, log: Log) -> None:
        from tasks.models.scoring.tqr_scorer import TqrScorer

        self._scorer = TqrScorer.load(path, config, log)

    def readings(self, groups: list[Group], log: Log) -> list[Reading]:
        found = self._scorer.every_reading(groups)
        self._scorer.note_cut(log)
        scored = {
            name: [
                replace(group, scores=tuple(row)) for group, row in zip(groups, rows, strict=True)
            ]
            for name, rows in found.items()
        }
        return [Reading("", scored[self._scorer.own]), *(Reading(*one) for one in scored.items())]


def take_apart(groups: list[Group]) -> Pairs:
    """Compare column 0 of every scored group with each of its further columns.

    A column with the text of column 0 is a tie, as arithmetic in batches may tell them apart.
    """
    rows = [(group, other) for group in groups for other in range(1, len(group.responses))]
    lengths = [len(text) for group in groups for text in group.responses]
    scores = [_with_ties(group) for group in groups]
    return Pairs(
        margins=[[best - score for score in others] for best, *others in scores],
        better=[best for best, *others in scores for _ in others],
        worse=[score for _, *others in scores for score in others],
        better_lengths=[len(group.responses[0]) for group, _ in rows],
        worse_lengths=[len(group.responses[k]) for group, k in rows],
        length_correlation=pearson(lengths, [score for row in scores for score in row]),
    )


def _with_ties(group: Group) -> list[float]:
    best, *_ = scores = scores_of(group)
    texts = group.responses
    return [best if text == texts[0] else one for text, one in zip(texts, scores, strict=True)]


def beside(reading: str, pairs: Pairs) -> dict[str, float]:
    """Return the accuracy of one reading of a model, a tie being wrong, and what it owes to length.

    The names begin with the reading's.
    """
    accuracy = clustered_mean([[gap > 0 for gap in row] for row in pairs.margins])
    ties = clustered_mean([[gap == 0 for gap in row] for row in pairs.margins])
    found = {
        "accuracy": accuracy.value,
        "accuracy_se": accuracy.standard_error,
        "ties": ties.value,
        "length_correlation": pairs.length_correlation,
    }
    return {f"{reading}_{name}": value for name, value in found.items()}


def metrics_of(pairs: Pairs, bins: int) -> tuple[CalibrationReport, dict[str, Any]]:
    """Return the calibration report of one set of pairs and, as plain values, all its metrics.

    These are `figures` (flat numbers), `bins` (of the diagram) and `margins` per group.
    """
    report = calibration_report(pairs.better, pairs.worse, bins=bins)
    lengths = preference_report(
        pairs.better, pairs.worse, pairs.better_lengths, pairs.worse_lengths
    )
    accuracy: Estimate = clustered_mean([[gap > 0 for gap in row] for row in pairs.margins])
    margin: Estimate = clustered_mean(pairs.margins)
    metrics = {
        **report.metrics(),
        **lengths.metrics(),
        "accuracy_se": accuracy.standard_error,
        "margin": margin.value,
        "margin_se": margin.standard_error,
        "length_correlation": pairs.length_correlation,
    }
    bins_ = [asdict(one) for one in report.bins]
    return report, {"figures": metrics, "bins": bins_, "margins": pairs.margins}
