"""The section of the report that says what was wrong with gold."""

from __future__ import annotations

from tasks.evaluation.apo.gold_quality import gold_section

NOTHING = {"kept": 0, "repaired": 0, "quarantined": 0}


def test_only_kinds_that_were_found_have_a_row() -> None:
    kinds = {"empty": {**NOTHING, "quarantined": 2}, "refused": NOTHING}
    lengths = {"gold": 300.0, "chosen": 100.0, "longer_share": 0.9}
    section = gold_section({"kinds": kinds, "lengths": lengths})
    (table,) = section.tables
    assert table.rows == (("empty", "nothing in it", 0, 0, 2),)
    (note,) = section.notes
    assert "longer one in 90 of 100 cases" in note and "length in place of quality" in note


def test_a_clean_set_is_said_to_be_one() -> None:
    section = gold_section({"kinds": {"empty": NOTHING}, "lengths": None})
    assert section.notes == ["nothing was found wrong with the gold answers"]
    assert not section.tables
