"""Best-of-N: its KL, and who is picked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.config import BestOfN
from tasks.evaluation.metrics.best_of_n import best_columns, best_of_n_kl, pick_best_groups
from tasks.settings.errors import ConfigError, RecordError
from tasks.settings.log import NullLog


@pytest.mark.parametrize("n", [2, 8, 128])
def test_kl_agrees_with_the_distribution_of_the_best(n: int) -> None:
    """The best of n uniform ranks has density n u^(n−1): its KL by quadrature."""
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = n * u ** (n - 1)
    # u log u vanishes at 0, where the density may underflow.
    exact = (density * np.log(np.maximum(density, 1e-300))).mean()
    assert best_of_n_kl(n) == pytest.approx(exact, abs=1e-4)


def test_the_best_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="n = 0"):
        best_of_n_kl(0)


def test_each_block_gives_its_best() -> None:
    scores = (1.0, 5.0, 2.0, 7.0, 7.0, 3.0, 9.0)
    assert best_columns(scores, n=3, most=4) == [1, 3]
    assert best_columns(scores, n=3, most=1) == [1]
    assert best_columns(scores, n=1, most=2) == [0, 1]


def _group(name: str, scores: tuple[float, ...] | None) -> Group:
    texts = tuple(f"{name}{k}" for k in range(len(scores) if scores else 4))
    notes = {"tokens": list(range(len(texts)))}
    return Group((Message("user", name),), texts, scores, id=name, extra=notes)


def test_picked_groups_keep_prompt_score_and_notes(tmp_path: Path) -> None:
    groups = [_group("p", (1.0, 2.0, 4.0, 3.0)), _group("q", (0.0, -1.0, -2.0, -3.0))]
    write_groups(tmp_path / "in", groups)
    config = BestOfN(n=2, most=4)
    figures = pick_best_groups(tmp_path / "in", config, tmp_path / "out", NullLog())
    first, second = read_groups(tmp_path / "out")
    assert (first.responses, first.scores) == (("p1", "p2"), (2.0, 4.0))
    assert (second.responses, second.id) == (("q0", "q2"), "q")
    assert second.extra["tokens"] == [0, 2]
    assert figures == {
        "kl": pytest.approx(np.log(2) - 0.5),
        "prompts": 2.0,
        "responses": 4.0,
        "mean_score": (2 + 4 + 0 - 2) / 4,
    }


def test_too_few_samples_are_named(tmp_path: Path) -> None:
    write_groups(tmp_path / "in", [_group("p", (1.0, 2.0))])
    with pytest.raises(ConfigError, match="best of 3 needs 3 samples .* group p “.*” has 2"):
        pick_best_groups(tmp_path / "in", BestOfN(n=3), tmp_path / "out", NullLog())
    assert not (tmp_path / "out" / "index.json").exists()


def test_unscored_samples_are_refused(tmp_path: Path) -> None:
    write_groups(tmp_path / "in", [_group("p", None)])
    with pytest.raises(RecordError, match="score its responses first"):
        pick_best_groups(tmp_path / "in", BestOfN(n=2), tmp_path / "out", NullLog())
