"""Tables: shown rounded, stored whole, escaped."""

from __future__ import annotations

import csv
import io

import pytest

from tasks.evaluation.report.tables import Column, Table, shown, to_csv, to_json, to_markdown

TABLE = Table(
    "scores",
    "Scores",
    (Column("Model"), Column("Score", ".2f"), Column("Count", ",")),
    (("a|b", 1.23456, 12_345), ("<b>c</b>", None, 0)),
    note="A *note*.",
)


def test_markdown() -> None:
    assert to_markdown(TABLE) == (
        "**Scores**\n\n"
        "| Model | Score | Count |\n"
        "| --- | ---: | ---: |\n"
        "| a\\|b | 1.23 | 12,345 |\n"
        "| &lt;b&gt;c&lt;/b&gt; | – | 0 |\n\n"
        "A \\*note\\*.\n"
    )


def test_csv_and_json_keep_every_digit() -> None:
    assert list(csv.reader(io.StringIO(to_csv(TABLE)))) == [
        ["Model", "Score", "Count"],
        ["a|b", "1.23456", "12345"],
        ["<b>c</b>", "", "0"],
    ]
    assert to_json(TABLE)["rows"][0] == ["a|b", 1.23456, 12_345]


def test_rows_for_the_terminal() -> None:
    assert shown(TABLE)[1] == [["a|b", "1.23", "12,345"], ["<b>c</b>", "–", "0"]]


def test_a_ragged_row_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 cells, got 2"):
        Table("t", "T", (Column("A"),), (("x", "y"),))
