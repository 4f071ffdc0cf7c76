"""Files that people fill in are read as spreadsheets write them, and never run in one."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.gold.people.answer_files import lay_out, read_answers
from tasks.gold.people.sheets import plain_cell, read_sheet, safe_cell, write_csv
from tasks.settings.errors import RecordError

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "'=1")


def rows_of(path: Path, text: str | bytes) -> list[tuple[int, object, str]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(row.line, row.fields, row.problem) for row in read_sheet(path)]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    write_csv(path, [{"id": "q", "prompt": text}])
    (_, shown) = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
    assert shown[1].startswith("'")
    ((_, fields, _),) = rows_of(path, path.read_bytes())
    assert fields == {"id": "q", "prompt": text}


@given(st.text())
def test_a_cell_comes_back_as_it_was(text: str) -> None:
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "id,response\nq,tea\n",
        "\ufeffid;response\r\nq;tea\r\n",
        "ID\tResponse \nq\ttea\n",
        "id,response,,\nq,tea,,\n,,,\n",
        "id;response\rq;tea\r",
    ],
)
def test_spreadsheets_of_every_country_are_read(text: str, tmp_path: Path) -> None:
    ((line, fields, problem),) = rows_of(tmp_path / "anna.csv", text)
    assert (line, problem) == (2, "")
    assert isinstance(fields, dict) and (fields["id"], fields["response"]) == ("q", "tea")


def test_a_cell_may_hold_lines_and_lines_are_counted(tmp_path: Path) -> None:
    text = 'id,response\nq,"one\ntwo"\nr,tea\nx,y,z\n'
    found = rows_of(tmp_path / "anna.csv", text)
    assert [line for line, _, _ in found] == [2, 4, 5]
    assert found[2][1] is None and "3 cells, where the first line names 2" in found[2][2]


def test_lines_of_json_that_are_none_are_named(tmp_path: Path) -> None:
    text = '{"id": "q"}\n\n[1]\n{"id": \n' + "[" * 100_000 + "\n"
    found = rows_of(tmp_path / "b.jsonl", text)
    assert [(line, problem) for line, _, problem in found] == [
        (1, ""),
        (3, "no JSON object"),
        (4, "no JSON"),
        (5, "no JSON"),
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("id,response\nq,Köln\n".encode("latin-1"), "is not UTF-8 (line 2): save it as"),
        ("id\nq\n".encode("utf-16"), "is UTF-16: save it as 'CSV UTF-8'"),
        (b"id,response\nq,\0\n", "holds a zero byte"),
        (b"id,id\nq,r\n", "has two columns named 'id'"),
        (b'id,response\nq,"never closed\n', "is a damaged CSV at line 2"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError) as refusal:
        rows_of(tmp_path / "anna.csv", data)
    assert words in str(refusal.value) and "anna.csv" in str(refusal.value)


def test_what_lies_elsewhere_or_has_no_name_is_told(tmp_path: Path) -> None:
    lay_out(tmp_path, [{"id": "q1", "prompt": "Tea?", "response": ""}], "Answer.")
    answers = tmp_path / "answers"
    (answers / "team").mkdir()
    (tmp_path / "anna.csv").write_text("id,response\nq1,Yes.\n")
    for name in (b"ben\xff.csv", b"cleo.csv"):
        Path(os.fsdecode(os.fsencode(answers) + b"/" + name)).write_text("id,response\nq1,No.\n")
    refused: list[str] = []
    assert [row.person for row in read_answers(tmp_path, "response", refused)] == ["cleo"]
    assert refused == [
        "anna.csv: it lies beside answers/: move it in there",
        "ben?.csv: its name is not UTF-8: answers are files in answers/ itself",
        "team: it is no file: answers are files in answers/ itself",
    ]
