"""What is said about unreadable records."""

from __future__ import annotations

from tasks.data.bad_records import BadRecords
from tasks.data.sources.tally import BadRecord


def test_each_reason_is_said_once_with_its_count_and_first_place() -> None:
    bad = BadRecords()
    for line in range(1, 21):
        bad.add(BadRecord("a.jsonl", line, f"the prompt “words {line}” has {line} turns"))
    bad.add(BadRecord("b.jsonl", 7, "column 'x' is missing"))
    assert bad.count == 21
    assert list(bad.sentences()) == [
        "left out 20 records, a.jsonl:1, 2, 3 and 17 more: the prompt “words 1” has 1 turns",
        "left out b.jsonl:7: column 'x' is missing",
    ]


def test_places_in_several_files_are_told_apart() -> None:
    bad = BadRecords()
    for source, line in (("a.jsonl", 1), ("a.jsonl", 4), ("b.jsonl", 2)):
        bad.add(BadRecord(source, line, "not JSON"))
    assert list(bad.sentences()) == ["left out 3 records, a.jsonl:1, 4, b.jsonl:2: not JSON"]
    assert [(one.count, len(one.first)) for one in bad.reasons()] == [(3, 3)]


def test_many_reasons_are_summed_up() -> None:
    bad = BadRecords()
    for letter in "abcdefghij":
        bad.add(BadRecord("a.jsonl", 1, f"reason {letter}"))
    *_, last = bad.sentences()
    assert last == "left out 2 records for 2 further reasons"


def test_a_file_cannot_steer_the_terminal_by_its_name_or_its_words() -> None:
    bad = BadRecords()
    bad.add(BadRecord("a\x1b.jsonl", 1, "column '\x1b[31mred\n' is missing"))
    assert list(bad.sentences()) == [r"left out a\x1b.jsonl:1: column '\x1b[31mred\n' is missing"]
