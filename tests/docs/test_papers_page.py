"""The page that says where each of the papers' items is: what it names must be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "papers.md"


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("the paper's item",) and "---" not in row[0]]


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[0][:40])
def test_each_item_has_a_place_and_a_test(row: list[str]) -> None:
    assert len(row) == 4, row
    item, where, verdict, shown = row
    assert item and verdict
    places = re.findall(r"`([^`]+)`", where)
    assert places and all((ROOT / place).is_file() for place in places), where
    tests = re.findall(r"`([^`]+)::(\w+)`", shown)
    assert tests, f"{item} names no test"
    for file, name in tests:
        functions = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        named = {one.name for one in functions if isinstance(one, ast.FunctionDef)}
        assert name in named, f"{file} has no {name}"


def test_the_papers_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)", page, flags=re.MULTILINE) == ["APO", "EXO", "AVA"]
    places = [(row[0], row[1]) for row in _rows()]
    assert len(places) == len(set(places)) > 40, "an item stands there once"
