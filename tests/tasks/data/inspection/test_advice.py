"""What is said about a file, and which of it would stop a run."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.inspection.advice import advise
from tasks.data.inspection.file_report import FileReport
from tasks.data.inspection.spread import Spread
from tasks.data.inspection.tokens import TokenStatistics

NO_LENGTHS = Spread(0.0, 0, 0, 0)


def report(**changes: Any) -> FileReport:
    """A file about which there is nothing to say, but for the changes."""
    found: dict[str, Any] = {
        "path": "a.jsonl", "format": "pairs", "forms": {"pairs": 1000}, "groups": 1000,
        "prompts": 900, "bad_records": 0, "bad_examples": (), "bad_reasons": (), "left_out": {},
        "ignored_columns": {}, "dropped": {}, "max_bad_share": 0.01,
        "responses_per_prompt": {2: 1000}, "chosen_longer": 0.5, "prompt_chars": NO_LENGTHS,
        "response_chars": NO_LENGTHS, "tokens": None,
    }  # fmt: skip
    return FileReport(**{**found, **changes})


def tokens(**changes: Any) -> TokenStatistics:
    found: dict[str, Any] = {
        "prompt": NO_LENGTHS, "response": NO_LENGTHS, "truncated_prompts": 0.0,
        "truncated_responses": 0.0, "boundary_merges": 0.0, "eos_in_loss": 1.0, "eos_inside": 0.0,
        "pad_is_eos": False,
    }  # fmt: skip
    return TokenStatistics(**{**found, **changes})


def test_a_good_file_needs_no_words() -> None:
    assert advise(report()) == [] == advise(report(tokens=tokens()))


CASES = [
    ({"groups": 0, "prompts": 0, "bad_records": 3}, "error", "none of 3 records can be read"),
    ({"groups": 0, "prompts": 0}, "error", "it is empty"),
    ({"bad_records": 20}, "error", "20 of 1,020 records cannot be read, more than the 1%"),
    ({"bad_records": 20}, "error", "left out by `data.max_bad_share: 0.02`"),
    ({"bad_records": 1, "max_bad_share": 0.0}, "error", "more than the 0% that a run allows"),
    ({"bad_records": 20, "max_bad_share": 0.02}, "warning", "20 of 1,020 records are left out"),
    ({"bad_records": 10}, "warning", "10 of 1,010 records are left out unread"),
    ({"groups": 5, "bad_records": 1}, "warning", "1 of 6 records are left out unread"),
    ({"left_out": {"alone": 4}}, "warning", "4 records give nothing to learn from: alone"),
    ({"forms": {"pairs": 9, "kwise": 1}}, "note", "several forms: 9 as pairs, 1 as kwise"),
    ({"ignored_columns": {"system": 7}}, "warning", "'system' (in 7); `fields` of a source maps"),
    ({"ignored_columns": {"a\x1b[1m": 7}}, "note", r"'a\x1b[1m' (in 7)"),
    ({"dropped": {"duplicate": 2}}, "warning", "2 of 1,000 records repeat an earlier one; a run"),
    ({"dropped": {"identical": 2}}, "warning", "responses that are all equal"),
    ({"dropped": {"tied": 2}}, "warning", "scores that are all equal"),
    ({"dropped": {"empty": 2}}, "warning", "have an empty prompt or response"),
    ({"dropped": {"no_comparison": 2}}, "warning", "have no second response, or no scores"),
    ({"dropped": {"tied": 990, "empty": 10}}, "error", "a run drops all of its records"),
    ({"left_out": {"not_sampled": 9, "alone": 2}}, "warning", "2 records give nothing to learn"),
    ({"prompts": 3}, "warning", "distinct prompts (3) are too few to divide: as the only pairs of"),
    ({"prompts": 12}, "warning", "12 distinct prompts are enough for a try, not to learn from"),
    ({"chosen_longer": 0.8}, "warning", "the better response is the longer one in 80%"),
    ({"chosen_longer": 0.2}, "warning", "the better response is the longer one in 20%"),
    ({"tokens": tokens(truncated_prompts=0.01)}, "note", "1.0% of the prompts are over"),
    ({"tokens": tokens(truncated_prompts=0.2)}, "warning", "20.0% of the prompts are over"),
    ({"tokens": tokens(truncated_responses=0.2)}, "warning", "20.0% of the responses are over"),
    ({"tokens": tokens(eos_inside=0.5)}, "warning", "spell the end-of-text token"),
]


@pytest.mark.parametrize(("changes", "level", "words"), CASES)
def test_each_thing_is_said_with_its_numbers(
    changes: dict[str, Any], level: str, words: str
) -> None:
    found = [one for one in advise(report(**changes)) if words in one.text]
    assert [one.level for one in found] == [level]


def test_errors_come_first() -> None:
    changes = {"ignored_columns": {"x": 1}, "dropped": {"tied": 2}, "bad_records": 500}
    assert [one.level for one in advise(report(**changes))] == ["error", "warning", "note"]
