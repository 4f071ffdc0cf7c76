"""What becomes of gold that something is wrong with: kept, repaired or quarantined."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Group, Message
from tasks.gold.provider import GoldAnswer
from tasks.gold.quality import CheckedGold, Kind, QualityConfig, check_gold
from tests.tasks.gold.test_answer_checks import ENGLISH, GERMAN

BAD: dict[Kind, GoldAnswer] = {
    "withheld": GoldAnswer("", "m", problem="withheld", raw="{filtered}"),
    "empty": GoldAnswer("  ", "m", problem="empty", raw="{empty}"),
    "truncated": GoldAnswer("It is so. And then it", "m", problem="truncated", raw="{cut}"),
    "refused": GoldAnswer("I'm sorry, but I can't help with that.", "m"),
    "language": GoldAnswer(GERMAN, "m"),
    "length": GoldAnswer("A sentence. " * 10, "m"),
}


def checked(answers: list[GoldAnswer], chosen: tuple[int, ...] = (), **given: Any) -> CheckedGold:
    queries = [
        Group((Message("user", f"{ENGLISH} {number}"),), id=str(number))
        for number in range(len(answers))
    ]
    named = {str(number): answer for number, answer in enumerate(answers)}
    return check_gold(QualityConfig(**given), queries, named, chosen)


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_is_found_and_its_default_is_done(kind: Kind) -> None:
    found = checked([BAD[kind], GoldAnswer("All is well.", "m")], chosen=(30, 30))
    is_kept = kind in ("refused", "length")
    assert list(found.kept) == (["0", "1"] if is_kept else ["1"])
    assert found.kinds[kind] == {"kept" if is_kept else "quarantined": 1}
    assert sum(one.total() for one in found.kinds.values()) == 1, "and nothing else is found"
    if not is_kept:
        (aside,) = found.quarantine
        assert (aside.id, aside.kind, aside.raw) == ("0", kind, BAD[kind].raw)
        assert aside.text == BAD[kind].text


def test_repair_cuts_behind_a_whole_sentence_and_quarantines_where_none_is() -> None:
    hopeless = GoldAnswer("And then it", "m", problem="truncated")
    found = checked(
        [BAD["truncated"], hopeless, BAD["length"]], chosen=(10,), truncated="repair",
        length="repair",
    )  # fmt: skip
    assert {name: one.text for name, one in found.kept.items()} == {
        "0": "It is so.", "2": "A sentence. A sentence.",
    }  # fmt: skip
    assert found.repaired == {"0", "2"} and [one.id for one in found.quarantine] == ["1"]
    assert found.metrics()["quality/truncated"] == 2 and found.metrics()["quality/repaired"] == 2


def test_of_answers_that_are_the_same_repair_keeps_the_first() -> None:
    same = [GoldAnswer("Well, that depends.", "m")] * 3
    assert len(checked(same[:2], duplicate="quarantine").kept) == 2, "two may be chance"
    assert list(checked(same, duplicate="repair").kept) == ["0"]
    assert list(checked(same, duplicate="quarantine").kept) == []
    kept = checked(same)
    assert len(kept.kept) == 3 and kept.kinds["duplicate"] == {"kept": 3}
    assert kept.sentences() == ["gold: 3 duplicate (3 kept)"]


def test_a_translation_may_be_in_another_language() -> None:
    assert list(checked([BAD["language"]], language="keep").kept) == ["0"]


def test_lengths_are_those_of_what_is_kept() -> None:
    found = checked([GoldAnswer("x" * 20, "m"), BAD["empty"]], chosen=(10, 30, 10))
    assert found.lengths is not None and found.lengths.gold == 20
    assert found.metrics()["quality/longer_share"] == 2 / 3
    assert found.to_json()["lengths"]["chosen"] == 10
    assert "gold is the longer one in 67 of 100 cases" in found.sentences()[-1]
