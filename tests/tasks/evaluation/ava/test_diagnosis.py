"""A TQR looked at from its folder to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.data.playground.world import build_world
from tasks.evaluation.ava.config import DiagnosisConfig
from tasks.evaluation.ava.diagnosis import diagnose
from tasks.evaluation.ava.positions import joined, read_positions, token_texts
from tasks.evaluation.ava.reward_numbers import rewards_in_numbers
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.tqr_scorer import TqrScorer
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.files import read_json, write_json
from tests.tasks.evaluation.tqr_folder import tqr_folder

LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=24)
SCORING = ScoringConfig(limits=LIMITS, precision="fp32")
CONFIG = DiagnosisConfig(scoring=SCORING, prefix_tokens=(1, 2, 500), shuffles=20, examples=1)
WORLD = build_world(0, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tqr_folder(tmp_path_factory.mktemp("tqr"))


@pytest.fixture
def groups() -> list[Group]:
    prompts = [next(p for p in WORLD._first_turns if name in p) for name in WORLD.entities]
    return [
        Group((Message("user", prompt),), ("It is no fox, sir", "no, stupid <b>"))
        for prompt in prompts
    ]


def test_positions_are_those_of_each_response_and_words_stand_for_them(
    folder: Path, groups: list[Group]
) -> None:
    scorer = TqrScorer.load(folder, SCORING)
    group = Group(groups[0].prompt, ("it is héé 🎉", "no"))
    rows = read_positions(scorer, [group, *groups])[0]
    scores = scorer.both([group])[0]
    for place, one in enumerate(rows):
        texts = token_texts(scorer, group, place)
        assert "".join(texts).strip() == group.responses[place]
        assert len(one.mean) == len(texts) + 1 and not one.irl[-1] and one.irl[:-1].all()
        assert float(one.mean[-1]) == pytest.approx(scores[place].last, abs=1e-5)
        assert torch.equal(one.mean, one.td_mean)
        assert one.q_next[:-1].tolist() == pytest.approx(one.q[1:].tolist(), abs=1e-6)
    assert "" in token_texts(scorer, group, 0)  # 🎉 is more than one token


def test_figures_are_those_of_the_positions(folder: Path, groups: list[Group]) -> None:
    scorer = TqrScorer.load(folder, SCORING)
    every = joined([one for row in read_positions(scorer, groups) for one in row])
    found = rewards_in_numbers(every, every, gamma=0.9, vocabulary=290)
    td = (every.q - 0.9 * every.q_next)[every.irl]
    assert found.td[0.5] == pytest.approx(float(td.abs().quantile(0.5)))
    near = (td - every.mean[every.irl]).abs() < every.log_std[every.irl].exp()
    assert found.within[1.0] == pytest.approx(float(near.double().mean()))
    assert sum(found.std_counts) == found.positions == len(every.mean)
    nothing = joined([part._replace(irl=part.irl & False) for part in [every]])
    assert rewards_in_numbers(nothing, every, gamma=1, vocabulary=290).within[1.0] is None


def test_a_beginning_is_scored_as_a_text_of_its_own(folder: Path, groups: list[Group]) -> None:
    scorer = TqrScorer.load(folder, SCORING)
    shown = scorer.showing(2).both(groups)
    for group, row in zip(groups, shown, strict=True):
        texts = [
            "".join(token_texts(scorer, group, place)[:2]).strip()
            for place in range(len(group.responses))
        ]
        alone = scorer.both([Group(group.prompt, tuple(texts))])[0]
        assert row == [pytest.approx(one, abs=1e-5) for one in alone]


def test_report_and_heat_map(folder: Path, groups: list[Group], tmp_path: Path) -> None:
    write_groups(tmp_path / "pairs", groups)
    write_json(tmp_path / "world.json", {"world": WORLD.to_json()})
    output = tmp_path / "output"
    output.mkdir()
    world = tmp_path / "world.json"
    args: tuple[Any, ...] = (folder, tmp_path / "pairs", world, CONFIG, output, NullLog())
    metrics = diagnose(*args, seed=0)
    assert metrics["groups"] == 4
    assert {"beginning/1/accuracy", "beginning/whole/accuracy", "penalties/seen"} < metrics.keys()
    assert "beginning/500/accuracy" not in metrics
    report = read_json(output / "report.json")
    assert set(report["tables"]) == {"td", "calibration", "beginnings", "penalties"}
    numbers = report["numbers"]
    assert numbers["correlations"]["seen"]["value"] == metrics["penalties/seen"]
    assert numbers["metrics"] == metrics and sum(numbers["std"]["counts"]) == metrics["positions"]
    ((pair,), rows) = numbers["examples"], numbers["beginnings"]
    assert [one["title"] for one in pair["responses"]] == ["Better", "Worse"]
    assert rows[-1]["accuracy"]["value"] == metrics["beginning/whole/accuracy"]
    page = (output / "heat-map.html").read_text()
    assert "<b>" not in page and "the oracle takes" in page and "Better, score" in page
    assert {"report.md", "reward-std.png", "accuracy-by-length.csv", "beginnings.csv"} <= {
        path.name for path in output.iterdir()
    }


def test_responses_that_begin_alike_are_ties(folder: Path, tmp_path: Path) -> None:
    """`it is` begins all four, so that only the whole tells them apart."""
    ends = ("a longer answer", "no", "it", "sir", "fish", "a fox")
    asked = [Group((Message("user", f"{end}?"),), ("it is, no", f"it is {end}")) for end in ends]
    write_groups(tmp_path / "pairs", asked)
    config = CONFIG.model_copy(update={"prefix_tokens": (1,), "examples": 0})
    rest = (None, config, tmp_path, NullLog())
    metrics = diagnose(folder, tmp_path / "pairs", *rest, seed=0)
    assert (metrics["beginning/1/ties"], metrics["beginning/1/accuracy"]) == (1.0, 0.0)
    assert metrics["beginning/whole/ties"] == 0


def test_what_cannot_be_diagnosed_is_refused(
    folder: Path, groups: list[Group], tmp_path: Path
) -> None:
    write_groups(tmp_path / "single", [Group(groups[0].prompt, ("no",))])
    write_groups(tmp_path / "other", [Group((Message("user", "Hm?"),), ("a", "b"))])
    write_json(tmp_path / "world.json", {"world": WORLD.to_json()})
    rest = (CONFIG, tmp_path, NullLog())
    with pytest.raises(ConfigError, match="no group of .* has two responses"):
        diagnose(folder, tmp_path / "single", None, *rest, seed=0)
    with pytest.raises(ConfigError, match="oracle cannot judge the group .*diagnose without"):
        diagnose(folder, tmp_path / "other", tmp_path / "world.json", *rest, seed=0)
    with pytest.raises(ConfigError, match="holds no TQR"):
        diagnose(tmp_path, tmp_path / "other", None, *rest, seed=0)
