"""AfD: pairs of a better and a worse author, by examples made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.data.demonstration_pairs import AfdConfig, pair_demonstrations, sides_of
from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message, finished, scores_of
from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace
from tests.tasks.stages.every_stage import STAGES


def answers(*texts: str, ended: bool | None = None) -> list[Group]:
    """One answer to each of the prompts a, b, c …"""
    extra = {} if ended is None else {"ended": [ended]}
    return [
        Group((Message("user", name),), (text,), id=name, extra=extra)
        for name, text in zip("abcdef", texts, strict=False)
    ]


DEMO, SFT, INIT = answers("4", "Paris."), answers("Four.", "It is Paris"), answers("5", "Rome")
WRITTEN = {"demo": DEMO, "sft": SFT, "init": INIT}


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("init_sft", [("Four.", "5"), ("It is Paris", "Rome")]),
        ("init_demo", [("4", "5"), ("Paris.", "Rome")]),
        ("sft_demo", [("4", "Four."), ("Paris.", "It is Paris")]),
    ],
)
def test_who_stands_against_whom(pairing: str, expected: list[tuple[str, str]]) -> None:
    """The name has the worse side first; a pair has the chosen one first."""
    sides = sides_of(pairing)
    pairs, counts = pair_demonstrations(pairing, WRITTEN[sides.chosen], WRITTEN[sides.rejected])
    found = list(pairs)
    assert [pair.responses for pair in found] == expected
    assert [pair.id for pair in found] == ["a", "b"]
    assert {pair.sources for pair in found} == {(sides.chosen, sides.rejected)}
    assert pairing == f"{sides.rejected}_{sides.chosen}"
    assert [scores_of(pair) for pair in found] == [(1.0, 0.0)] * 2
    assert counts() == {"groups": 2.0, "identical_share": 0.0, "empty_share": 0.0}


def test_equal_answers_and_empty_ones_are_left_out_and_counted() -> None:
    """Of four queries: white space around a text is no difference; silence is no example.

    An empty answer is as good a rejected one as any.
    """
    pairs, counts = pair_demonstrations(
        "init_sft", answers("same", " ", "good", "fine"), answers(" same\n", "bad", "", "Fine")
    )
    assert [pair.responses for pair in pairs] == [("good", ""), ("fine", "Fine")]
    assert counts() == {"groups": 2.0, "identical_share": 0.25, "empty_share": 0.25}


def test_a_cut_sample_is_known_as_one() -> None:
    pairs, _ = pair_demonstrations("init_demo", answers("whole"), answers("cut of", ended=False))
    assert [finished(pair) for pair in pairs] == [(True, False)]


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(StageError, match="no AfD pairing 'demo_sft'; known: init_sft, init_demo"):
        sides_of("demo_sft")
    with pytest.raises(StageError, match="sft and init hold different queries: b against none"):
        list(pair_demonstrations("init_sft", answers("x", "y"), answers("z"))[0])
    twice = [Group((Message("user", "a"),), ("one", "two"), id="a")]
    with pytest.raises(StageError, match="the query a .* has 2 answers of init, and a pair"):
        list(pair_demonstrations("init_demo", answers("x"), twice)[0])
    bare = [Group((Message("user", "a"),), (), id="a")]
    with pytest.raises(StageError, match="0 answers of demo"):
        list(pair_demonstrations("sft_demo", bare, answers("x"))[0])


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ([], [], "of 0 queries"),
        (["same"], ["same"], "1 have two equal answers"),
        (["", " "], ["x", "y"], "2 an empty one of sft"),
    ],
)
def test_nothing_left_is_said(better: list[str], worse: list[str], why: str) -> None:
    with pytest.raises(StageError, match=f"no pair of init_sft is left .*{why}"):
        list(pair_demonstrations("init_sft", answers(*better), answers(*worse))[0])


def test_the_stage_writes_the_pairs(tmp_path: Path) -> None:
    for name, groups in WRITTEN.items():
        write_groups(tmp_path / name, groups)
    chosen, rejected = (SimpleNamespace(path=tmp_path / name) for name in ("demo", "sft"))
    workspace = Workspace(tmp_path / "work")
    body = STAGES["pair_demonstrations"].body
    config = AfdConfig(pairing="sft_demo")
    metrics = body(chosen, rejected, config=config, workspace=workspace)
    assert metrics == {"groups": 2.0, "identical_share": 0.0, "empty_share": 0.0}
    found = [group.responses for group in read_groups(workspace.output)]
    assert found == [("4", "Four."), ("Paris.", "It is Paris")]
