"""A reward model's figures, worked out by hand on three prompts."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group
from tasks.evaluation.config import RewardModelEvaluation
from tasks.evaluation.reward_model import (
    beside,
    measure_reward_model,
    metrics_of,
    take_apart,
)
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import RewardModelScorer
from tasks.models.scoring.tqr_scorer import TqrScorer
from tasks.settings.errors import RecordError
from tasks.settings.log import NullLog
from tasks.storage.files import read_json
from tests.tasks.evaluation.tqr_folder import tqr_folder

GROUPS = [
    Group((), ("aaaa", "aa"), (2.0, 1.0), id="p"),
    Group((), ("aa", "aaaa", "aa"), (0.0, 1.0, 0.0), id="q"),
    Group((), ("aaaaaa", "aaaa"), (3.0, 2.0), id="r"),
]


def test_column_0_against_each_further_column() -> None:
    pairs = take_apart(GROUPS)
    assert pairs.margins == [[1.0], [-1.0, 0.0], [1.0]]
    assert pairs.better == [2.0, 0.0, 0.0, 3.0]
    assert pairs.worse == [1.0, 1.0, 0.0, 2.0]
    assert pairs.better_lengths == [4, 2, 2, 6]
    assert pairs.worse_lengths == [2, 4, 2, 4]
    # Characters 4 2 2 4 2 6 4 and rewards 2 1 0 1 0 3 2, both about their means 24/7 and 9/7.
    covariance = 40 - 24 * 9 / 7
    spread = (96 - 24**2 / 7) * (19 - 9**2 / 7)
    assert pairs.length_correlation == pytest.approx(covariance / spread**0.5)


def test_equal_texts_are_a_tie_whatever_arithmetic_made_of_them() -> None:
    pairs = take_apart([Group((), ("a", "a", "b"), (1.0, 0.9999999, 0.5), id="p")])
    assert pairs.margins == [[0.0, 0.5]] and pairs.worse == [1.0, 0.5]


def test_figures_by_hand() -> None:
    report, found = metrics_of(take_apart(GROUPS), bins=10)
    metrics = found["figures"]
    assert metrics["pairs"] == 4
    assert metrics["accuracy"] == 0.5  # a tie is wrong
    assert metrics["ties"] == 0.25
    assert metrics["margin"] == 0.25
    assert metrics["longer_wins"] == 0.5
    assert (metrics["length_matched"], metrics["length_matched_pairs"]) == (0.0, 1.0)
    # By prompt: accuracy deviates by 1/2, -1/2 - 1/2, 1/2; the margin by 3/4, -5/4 - 1/4, 3/4.
    assert metrics["accuracy_se"] == pytest.approx((3 / 2 * 1.5) ** 0.5 / 4)
    assert metrics["margin_se"] == pytest.approx((3 / 2 * 3.375) ** 0.5 / 4)
    # Two sure ones right and one wrong at sigmoid(1), one undecided.
    sure = 1 / (1 + exp(-1))
    brier = (2 * (1 - sure) ** 2 + sure**2 + 0.25) / 4
    assert metrics["brier"] == pytest.approx(brier)
    assert found["margins"] == [[1.0], [-1.0, 0.0], [1.0]]
    assert len(found["bins"]) == len(report.bins) == 10
    assert sum(one["count"] for one in found["bins"]) == 8


def test_unscored_groups_are_refused() -> None:
    with pytest.raises(RecordError, match="group p “.*” has no scores"):
        take_apart([replace(GROUPS[0], scores=None)])


def test_sets_are_measured_apart_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {group.id: group.scores for group in GROUPS}
    write_groups(tmp_path / "test", [replace(group, scores=None) for group in GROUPS])
    write_groups(tmp_path / "dev", [replace(group, scores=None) for group in GROUPS[:1]])

    def load(path: Path, config: ScoringConfig, log: Any) -> Known:
        assert (path, config.batch_tokens) == (tmp_path / "m", 77)
        return Known()

    class Known:
        def score(self, groups: list[Group]) -> list[list[float]]:
            return [list(known[group.id]) for group in groups]

        def note_cut(self, log: Any) -> None:
            pass

    monkeypatch.setattr(RewardModelScorer, "load", load)
    output = tmp_path / "output"
    output.mkdir()
    sets = {"test": tmp_path / "test", "dev": tmp_path / "dev"}
    config = RewardModelEvaluation(scoring=ScoringConfig(batch_tokens=77), bins=5)
    flat = measure_reward_model(tmp_path / "m", sets, config, output, NullLog())
    kept = read_json(output / "evaluation.json")
    assert sorted(kept) == ["dev", "test"]
    assert (flat["test/accuracy"], flat["dev/accuracy"]) == (0.5, 1.0)
    assert flat == {
        f"{name}/{key}": value
        for name, found in kept.items()
        for key, value in found["figures"].items()
    }
    assert len(kept["dev"]["bins"]) == 5
    assert {path.suffix for path in output.iterdir()} == {".json", ".png", ".svg", ".csv"}


def test_a_tqr_is_measured_in_every_reading(tmp_path: Path) -> None:
    """Its own score has the metrics of any model; each reading's accuracy stands beside it."""
    folder = tqr_folder(tmp_path)
    pairs = [replace(group, scores=None) for group in GROUPS]
    write_groups(tmp_path / "test", pairs)
    scorers = {name: ScoringConfig(precision="fp32", score=name) for name in ("last", "return")}
    found = {}
    for name, scoring in scorers.items():
        output = tmp_path / name
        output.mkdir()
        config = RewardModelEvaluation(scoring=scoring)
        found[name] = measure_reward_model(
            folder, {"test": tmp_path / "test"}, config, output, NullLog()
        )
        assert found[name]["test/accuracy"] == found[name][f"test/{name}_accuracy"]
        assert found[name]["test/accuracy_se"] == found[name][f"test/{name}_accuracy_se"]
        both = TqrScorer.load(folder, scoring).score(pairs)
        gaps = [best - other for best, *others in both for other in others]
        assert found[name]["test/margin"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
    readings = ("last", "return", "logp")
    for key in (f"test/{name}_{figure}" for name in readings for figure in ("accuracy", "ties")):
        assert found["last"][key] == found["return"][key]
    logps = TqrScorer.load(folder, scorers["last"]).every_reading(pairs)["logp"]
    scored = [replace(group, scores=tuple(row)) for group, row in zip(pairs, logps, strict=True)]
    assert found["last"]["test/logp_accuracy"] == beside("x", take_apart(scored))["x_accuracy"]


def test_without_a_policy_there_is_no_log_probability(tmp_path: Path) -> None:
    scorer = TqrScorer.load(tqr_folder(tmp_path, ptq=False), ScoringConfig(precision="fp32"))
    assert list(scorer.every_reading(GROUPS)) == ["last", "return"]


def test_a_reading_by_hand() -> None:
    found = beside("last", take_apart(GROUPS))
    assert (found["last_accuracy"], found["last_ties"]) == (0.5, 0.25)
    assert found["last_accuracy_se"] == pytest.approx((3 / 2 * 1.5) ** 0.5 / 4)
