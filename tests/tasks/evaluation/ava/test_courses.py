"""Proxy and judge at every KL, by hand on two prompts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.files import write_groups
from tasks.data.groups import Group
from tasks.evaluation.ava.config import AvaReportConfig
from tasks.evaluation.ava.courses import course_plot, courses_of, expected_best
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tests.tasks.evaluation.ava.evaluations import START, entry, evaluation, reward

MODELS = [reward("AVA-p", "ava_p", seed) for seed in (0, 1)]
BEST = [
    entry("BoN w/ AVA-p", "best_of_n", "ava_p", seed=seed, responses=2, start_proxy=0.0)
    for seed in (0, 1)
]
PPO = entry("PPO w/ AVA-p", "ppo", "ava_p", start_proxy=0.0)
HALFWAY = PPO.model_copy(update={"name": "PPO w/ AVA-p s0 1/2"})
FOUND = {
    "start": evaluation([0, 1], "ab", kl=0.0),
    PPO.name: evaluation([-1, -1], "wx", kl=2.0, own=5.0),
    HALFWAY.name: evaluation([1, 2], "yz", kl=0.5, own=2.0),
}


def scored(folder: Path, name: str, rows: list[tuple[float, ...]]) -> Path:
    """Samples of the start to the prompts p and q, with these scores."""
    groups = [
        Group((), tuple(f"text {place}" for place in range(len(row))), row, id=key)
        for key, row in zip("pq", rows, strict=True)
    ]
    path = folder / name.replace(" ", "-")
    write_groups(path, groups)
    return path


@pytest.fixture
def scores(tmp_path: Path) -> dict[str, Path]:
    """The proxy of seed 0 agrees with the oracle on p alone, that of seed 1 on q alone."""
    return {
        "oracle": scored(tmp_path, "oracle", [(0.0, 1.0), (4.0, 2.0)]),
        "AVA-p s0": scored(tmp_path, "AVA-p s0", [(1.0, 3.0), (1.0, 3.0)]),
        "AVA-p s1": scored(tmp_path, "AVA-p s1", [(3.0, 1.0), (3.0, 1.0)]),
    }


def told(**own: Any) -> AvaReportConfig:
    given = {"entries": [START, *BEST, PPO], "rewards": MODELS, "snapshots": [HALFWAY]}
    return AvaReportConfig(judges=("oracle",), **(given | own))


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-9, 9)), min_size=1, max_size=6), st.data())
def test_the_expected_best_is_the_mean_over_all_choices(
    samples: list[tuple[int, float]], data: st.DataObject
) -> None:
    """Of samples that tie, any is taken with the same chance."""
    n = data.draw(st.integers(1, len(samples)))
    worth = []
    for chosen in combinations(samples, n):
        top = max(proxy for proxy, _ in chosen)
        worth.append(np.mean([value for proxy, value in samples if proxy == top]))
    proxy, values = (np.array(column, dtype=float) for column in zip(*samples, strict=True))
    assert expected_best(proxy, values, n) == pytest.approx(np.mean(worth))


def test_best_of_n_by_hand(scores: dict[str, Path]) -> None:
    """The best of both has a proxy of 3, 1 above the mean 2, and that is one deviation.

    The oracle gives seed 0 1 for p (+0.5) and 2 for q (-1), and seed 1 0 (-0.5) and 4 (+1).
    """
    (best, _) = courses_of(told(), FOUND, scores)
    assert (best.line, best.model, best.kind) == ("BoN w/ AVA-p", "AVA-p", "best_of_n")
    one, two = best.points
    assert (one.step, one.kl.value, one.proxy.value, one.judge.value) == (1, 0.0, 0.0, 0.0)
    assert (two.step, two.kl.value, two.proxy.value) == (2, best_of_n_kl(2), 1.0)
    assert two.judge.value == pytest.approx((-0.25 + 0.25) / 2)
    alone = courses_of(told(entries=[START, BEST[0]]), FOUND, scores)[0].points[1]
    assert alone.judge.value == pytest.approx(-0.25)


def test_ppo_begins_at_the_start_and_has_its_snapshots(scores: dict[str, Path]) -> None:
    (_, ppo) = courses_of(told(), FOUND, scores)
    assert [(point.step, point.kl.value) for point in ppo.points] == [(0, 0.0), (1, 0.5), (2, 2.0)]
    assert [point.proxy.value for point in ppo.points] == [0.0, 0.0, 3.0]
    assert [point.judge.value for point in ppo.points] == [0.0, 1.0, -1.5]


def test_without_the_judges_scores_or_a_kl_there_is_no_course(scores: dict[str, Path]) -> None:
    assert not courses_of(told(), FOUND, {})
    unmeasured = {name: {**one, "kl": one["kl"]} for name, one in FOUND.items()}
    for name in (PPO.name, HALFWAY.name):
        del unmeasured[name]["kl"]
    assert [one.kind for one in courses_of(told(), unmeasured, scores)] == ["best_of_n"]


def test_the_plot_keeps_its_numbers(scores: dict[str, Path], tmp_path: Path) -> None:
    plot = course_plot(courses_of(told(), FOUND, scores), "oracle", tmp_path)
    table = plot.files[2].read_text().splitlines()
    assert table[0] == "line,step,kl,kl_se,proxy,proxy_se,judge,judge_se"
    assert table[-1].startswith("PPO w/ AVA-p,2,2.0,0.1,3.0,0.0,-1.5,")
    assert "a reward model is hacked" in plot.caption.lower()
