"""Gold for a set of queries: counts, limits, and the held-out share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.gold.collection import OWN_GOLD, GoldConfig, collect, hold_out
from tasks.gold.people.config import PeopleConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace


class Notes(NullLog):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def query(text: str) -> Group:
    return Group((Message("user", text),))


def gold_file(folder: Path, count: int) -> Path:
    file = folder / "gold.jsonl"
    rows = ({"instruction": f"q {n}", "golden": f"a {n}"} for n in range(count))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_unanswered_queries_are_counted_and_named(tmp_path: Path) -> None:
    file, log = gold_file(tmp_path, 3), Notes()
    queries = [query("q 2"), query("q 9"), query("q 0"), query("q 2")]
    config = GoldConfig(path=str(file), max_unanswered_share=0.4)
    gold, counts = collect(config, queries, file, Workspace(tmp_path / "w"), log)
    assert [(group.prompt[0].content, group.responses) for group in gold] == [
        ("q 2", ("a 2",)),
        ("q 0", ("a 0",)),
    ]
    assert gold[0].sources == ("gold",)
    assert counts["answered"] == 2.0 and counts["unanswered"] == 1.0
    assert len(log.texts) == 1 and queries[1].id in log.texts[0]


def test_too_many_unanswered_queries_stop_the_run(tmp_path: Path) -> None:
    file = gold_file(tmp_path, 3)
    config = GoldConfig(path=str(file), max_unanswered_share=0.3)
    with pytest.raises(ConfigError, match="1 of 3 queries"):
        collect(
            config,
            [query("q 0"), query("q 1"), query("q 7")],
            file,
            Workspace(tmp_path / "w"),
            NullLog(),
        )


def test_hold_out_parts_by_the_first_turn() -> None:
    first = Message("user", "q 1")
    long = Group((first, Message("assistant", "a"), Message("user", "go on")), ("x",))
    groups = [Group((Message("user", f"q {n}"),), ("x",)) for n in range(1000)] + [long]
    train, dev = hold_out(groups, 0.2)
    assert sorted(group.id for group in train + dev) == sorted(group.id for group in groups)
    assert 150 < len(dev) < 250
    sides = {group.id: side for side, part in (("train", train), ("dev", dev)) for group in part}
    assert sides[long.id] == sides[groups[1].id]
    assert hold_out(groups, 0.0)[1] == []
    # The side of a group does not depend on the others.
    assert hold_out(groups[:10], 0.2)[1] == [group for group in dev if group in groups[:10]]


def test_the_pairs_own_chosen_answers_are_gold_and_it_is_said(tmp_path: Path) -> None:
    pairs = [Group(query(f"q {n}").prompt, (f"good {n}", "bad"), (1.0, 0.0)) for n in range(3)]
    write_groups(tmp_path / "pairs", pairs)
    log, queries = Notes(), [query("q 2"), query("q 0")]
    config = GoldConfig(provider="chosen", max_unanswered_share=0)
    gold, counts = collect(config, queries, tmp_path / "pairs", Workspace(tmp_path / "w"), log)
    assert [group.responses for group in gold] == [("good 2",), ("good 0",)]
    assert (counts["answered"], counts["unanswered"]) == (2.0, 0.0)
    assert log.texts == [OWN_GOLD]


@pytest.mark.parametrize("wrong", [{}, {"provider": "chosen", "path": "a"}, {"provider": "file"}])
def test_gold_has_one_source(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="or `provider: chosen` alone"):
        GoldConfig(**wrong)


def test_a_source_that_is_given_up_has_to_be_taken_away() -> None:
    with pytest.raises(ValueError, match="take it away by `--set gold.people=null`"):
        GoldConfig(provider="chosen", people=PeopleConfig())
