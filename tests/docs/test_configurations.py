"""Every configuration and every record on the pages is accepted by the code."""

from __future__ import annotations

import json
import re

import pytest

from tasks.data.sources.formats import FORMATS, detect
from tests.docs.checking import WrongOnPageError, check_yaml
from tests.docs.pages import Block, blocks_of, page_names, read_page

SHOWN = [
    block
    for name in page_names()
    for block in blocks_of(name, read_page(name))
    if block.language == "yaml"
]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"{block.page}:{block.line}")
def test_a_configuration_is_accepted(block: Block) -> None:
    check_yaml(block.text)


def test_there_are_configurations() -> None:
    assert len(SHOWN) > 8


@pytest.mark.parametrize("text", ["sed: 1", "gate: {min_win_rate: 2}", "placement: {gpuu: a}"])
def test_a_wrong_configuration_is_found(text: str) -> None:
    with pytest.raises(WrongOnPageError):
        check_yaml(text)


def test_the_data_page_shows_each_form_once() -> None:
    text = read_page("docs/reference/data.md")
    table = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    (records,) = [one.text for one in blocks_of("data", text) if one.language == "json"]
    rows = [json.loads(line) for line in records.splitlines()]
    assert [detect(row, "page") for row in rows] == table
    assert sorted(table) == sorted(FORMATS)
    for name, row in zip(table, rows, strict=True):
        FORMATS[name].parse(row)
