"""Every submission is kept; the last of a person on a question counts."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from tasks.gold.people.question import RESPONSE, VERDICT, Kind
from tasks.gold.people.submissions import Handed, Rows, Submission, keep, kept, standing

QUESTIONS = {"q", "r"}


def handed(*rows: object, source: str = "anna.csv") -> list[Handed]:
    return [
        Handed(source, f"line {number}", row, "anna")
        if isinstance(row, dict)
        else Handed(source, f"line {number}", None, "anna", str(row))
        for number, row in enumerate(rows, start=2)
    ]


def look(
    journal: Path, *rows: object, source: str = "anna.csv", kind: Kind = RESPONSE
) -> tuple[int, Rows]:
    """Take rows in; return how many were new, and what was wrong with the others."""
    found = Rows(QUESTIONS, kind)
    return keep(journal, found.read(handed(*rows, source=source))), found


def counted(journal: Path) -> list[tuple[str, str, str]]:
    return [(one.question, one.person, one.answer) for one in standing(kept(journal))]


def answer(question: str, text: str, **more: str) -> dict[str, str]:
    return {"id": question, "response": text, **more}


def test_the_same_file_read_twice_adds_nothing_and_an_edit_supersedes(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    assert look(journal, answer("q", "tea"), answer("r", "milk"))[0] == 2
    assert look(journal, answer("q", "tea"), answer("r", "milk"))[0] == 0
    assert look(journal, answer("r", "milk"), answer("q", "tea"))[0] == 0, "another order"
    assert look(journal, answer("q", "coffee"), answer("r", "milk"))[0] == 1
    assert counted(journal) == [("q", "anna", "coffee"), ("r", "anna", "milk")]
    assert look(journal, answer("q", "tea"), answer("r", "milk"))[0] == 1, "back again"
    assert counted(journal)[0] == ("q", "anna", "tea")
    assert [one.answer for one in kept(journal)] == ["tea", "milk", "coffee", "tea"]


def test_an_answer_may_be_taken_back_and_an_empty_row_is_no_answer(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    added, found = look(journal, answer("q", "tea"), answer("r", " "))
    assert (added, found.blank) == (1, 1)
    assert look(journal, answer("q", ""), answer("r", ""))[0] == 1
    assert counted(journal) == []
    assert [one.answer for one in kept(journal)] == ["tea", ""]


def test_people_are_told_apart_and_who_repeats_is_counted(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    rows = (
        answer("q", "tea", annotator="ben"),
        answer("q", "tea"),
        answer("q", "tea"),
        answer("q", "milk"),
    )
    _, found = look(journal, *rows)
    assert found.duplicate == 1
    assert counted(journal) == [("q", "anna", "milk"), ("q", "ben", "tea")]


def test_a_name_is_one_person_however_it_is_written(tmp_path: Path) -> None:
    names = ("Anna M.", "anna  m. ", "ANNA\u00a0M.")
    journal = tmp_path / "j"
    for number, name in enumerate(names):
        look(journal, answer("q", f"tea {number}", annotator=name), source=f"{number}.csv")
    assert counted(journal) == [("q", "anna m.", "tea 2")]
    look(journal, answer("r", "milk"), source="Anna M. .csv")
    assert {one.person for one in kept(journal)} == {"anna m.", "anna"}, "a row's own name is first"


def test_bad_rows_are_named_kept_and_do_not_count(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    rows: tuple[object, ...] = (
        answer("gone", "tea"),
        {"response": "tea"},
        {"id": "q"},
        "no JSON",
        answer("q", "half \ud800"),
        {"id": "q", "response": 3},
        answer("q", "tea"),
    )
    added, found = look(journal, *rows)
    assert added == len(rows)
    assert (found.faults["unknown"], found.faults["malformed"]) == (1, 5)
    assert found.problems[0] == "anna.csv, line 2: there is no question 'gone' in this set"
    assert found.problems[1] == "anna.csv, line 3: it has no id of a question"
    assert found.problems[2] == "anna.csv, line 4: it has no response"
    assert "response is no text: 3" in found.problems[5]
    assert "'tea'" in next(one for one in kept(journal) if one.fault == "unknown").raw
    assert counted(journal) == [("q", "anna", "tea")]
    assert look(journal, *rows)[0] == 0


def test_a_verdict_is_one_of_three_words(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    rows = [{"id": "q", "verdict": " a"}, {"id": "r", "verdict": "TIE"}]
    _, found = look(journal, *rows, {"id": "q", "verdict": "both"}, kind=VERDICT)
    assert counted(journal) == [("q", "anna", "A"), ("r", "anna", "tie")]
    assert found.problems == ["anna.csv, line 4: verdict 'both' is none of A, B, tie"]


def test_what_counts_is_in_the_order_of_questions_and_people_whenever_it_came() -> None:
    came = [Submission(f"f, {n}", q, p, "x") for n, (q, p) in enumerate(product("rq", "ba"))]
    assert [one.question + one.person for one in standing(came)] == ["qa", "qb", "ra", "rb"]
    assert standing(came) == standing(came[::-1])
