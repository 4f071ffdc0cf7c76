"""An oracle's preferences have the form of human ones, with the very tokens that were drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.scoring import score_shards
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.labelling import LabelConfig, first_two, label_in_shards, winner
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log, NullLog
from tasks.storage.workspace import Workspace

CONFIG = LabelConfig(scoring=ScoringConfig(shard_size=2))


class Longest:
    """Prefers the longer response."""

    def score(self, groups: list[Group]) -> list[list[float]]:
        return [[float(len(text)) for text in group.responses] for group in groups]

    def note_cut(self, log: Log) -> None:
        pass


@pytest.fixture(autouse=True)
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_shards, "open_scorer", lambda path, config, log: Longest())


def sampled(name: str, *texts: str) -> Group:
    """Responses with the sampler's notes, each telling where it stood."""
    places = range(len(texts))
    return Group(
        (Message("user", name),),
        texts,
        sources=tuple(f"policy {k}" for k in places),
        extra={
            "tokens": [len(text) for text in texts],
            "ended": [k == 1 for k in places],
            "ids": [[k, k] for k in places],
            "vocabulary": "abc",
        },
    )


def label(groups: list[Group], folder: Path, config: LabelConfig = CONFIG):
    write_groups(folder / "responses", groups)
    space = Workspace(folder / "work")
    metrics = label_in_shards(folder, folder / "responses", config, space, NullLog())
    return metrics, list(read_groups(space.output))


def test_the_better_of_the_first_two_is_chosen_with_its_notes(tmp_path: Path) -> None:
    groups = [
        sampled("p", "no", "longer", "the third is longest"),
        sampled("q", "tie", "tie"),
        sampled("r", "well then", "no"),
    ]
    metrics, pairs = label(groups, tmp_path)
    assert metrics == {"pairs": 2, "ties": 1, "mean_gap": (4 + 7) / 2, "agreement": 1}
    assert pairs[0] == Group(
        (Message("user", "p"),),
        ("longer", "no"),
        (1.0, 0.0),
        ("policy 1", "policy 0"),
        extra={
            "tokens": [6, 2],
            "ended": [True, False],
            "ids": [[1, 1], [0, 0]],
            "vocabulary": "abc",
        },
    )
    assert pairs[1].responses == ("well then", "no") and pairs[1].extra["ids"] == [[0, 0], [1, 1]]


def test_responses_without_notes_become_pairs_too(tmp_path: Path) -> None:
    _, (pair,) = label([Group((), ("a", "bb"), id="p")], tmp_path)
    assert pair == Group((), ("bb", "a"), (1.0, 0.0), id="p")


def test_one_response_is_no_preference(tmp_path: Path) -> None:
    group = sampled("p", "alone")
    with pytest.raises(ConfigError, match=f"group {group.id} “.*” has 1 responses, .* needs two"):
        label([group], tmp_path)


def test_an_oracle_without_an_opinion_stops(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="all 2 pairs of .* are tied"):
        label([sampled("p", "a", "b"), sampled("q", "c", "d")], tmp_path)


def test_given_groups_are_not_changed() -> None:
    group = sampled("p", "a", "bb", "ccc")
    before = group.to_json()
    assert first_two(group).responses == ("a", "bb")
    assert group.to_json() == before


@given(st.floats(-3, 3), st.floats(-3, 3), st.text(max_size=5))
def test_argmax_and_ties(first: float, second: float, name: str) -> None:
    group = Group((), ("a", "b"), (first, second), id=f"p{name}")
    expected = None if first == second else int(second > first)
    assert winner(group, CONFIG) == expected
    assert (winner(group, LabelConfig(sampled=True)) is None) == (first == second)


@pytest.mark.parametrize(("gap", "temperature"), [(0.5, 1.0), (2.0, 1.0), (2.0, 4.0), (-1.0, 0.5)])
def test_drawn_winners_have_the_bradley_terry_chance(gap: float, temperature: float) -> None:
    """4,000 prompts: the share of wins is σ(gap / temperature) within four standard errors."""
    config, count = LabelConfig(sampled=True, temperature=temperature), 4000
    groups = [Group((), ("a", "b"), (gap, 0.0), id=str(number)) for number in range(count)]
    share = sum(winner(group, config) == 0 for group in groups) / count
    chance = 1 / (1 + math.exp(-gap / temperature))
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / count)


def test_a_draw_is_the_prompts_own() -> None:
    config = LabelConfig(sampled=True)
    groups = [Group((), ("a", "b"), (0.1, 0.0), id=str(number)) for number in range(50)]
    drawn = [winner(group, config) for group in groups]
    assert drawn == [winner(group, config) for group in groups]
    assert set(drawn) == {0, 1}
    assert drawn != [winner(group, LabelConfig(sampled=True, seed=1)) for group in groups]
    # The other order is the other place of the same winner's chance, not another winner's.
    swapped = [replace(group, scores=(1e9, 0.0)) for group in groups]
    assert {winner(group, config) for group in swapped} == {0}


def test_shards_that_are_there_are_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [sampled(name, "a", "bb") for name in "pqrst"]
    expected, pairs = label(groups, tmp_path)
    first, second = Workspace(tmp_path / "work"), Workspace(tmp_path / "again")
    first.drop_part("shard-00002")
    second.adopt_parts([first.path])
    asked: list[int] = []

    class Counting(Longest):
        def score(self, groups: list[Group]) -> list[list[float]]:
            asked.append(len(groups))
            return super().score(groups)

    monkeypatch.setattr(score_shards, "open_scorer", lambda path, config, log: Counting())
    found = label_in_shards(tmp_path, tmp_path / "responses", CONFIG, second, NullLog())
    assert (found, list(read_groups(second.output)), asked) == (expected, pairs, [1])
