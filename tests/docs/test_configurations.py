"""Every configuration and every record on the pages is accepted by the code."""

from __future__ import annotations

import json
import re

import pytest

from tasks.data.sources.forms.form import Form
from tasks.data.sources.forms.recognition import Recogniser
from tasks.data.sources.forms.refused import REFUSED
from tasks.data.sources.forms.registry import FORMS
from tests.docs.checking import WrongOnPageError, check_yaml
from tests.docs.pages import Block, blocks_of, page_names, read_page
from tests.tasks.data.sources.forms.published import READ, REFUSED_ROWS

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
    table = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \| [^|]*\|$", _part(text, "In which form"), re.M)
    )
    (records,) = [one.text for one in blocks_of("data", text) if one.language == "json"]
    rows = [json.loads(line) for line in records.splitlines()]
    assert [Recogniser().read(row)[0].name for row in rows] == list(table)
    assert table == {name: _columns(form) for name, form in FORMS.items()}


def test_the_data_page_shows_what_becomes_of_each_known_set() -> None:
    """The records of these sets are tested beside the forms."""
    part = _part(read_page("docs/reference/data.md"), "Public sets and toolkits")
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \|$", part, re.M)
    shown = [row for row in rows if row[0] not in ("set", "set or toolkit")]
    read = [(one.name, f"`{one.form}`") for one in READ]
    assert shown == read + [(one.name, REFUSED[one.form].why) for one in REFUSED_ROWS]


def _part(text: str, title: str) -> str:
    """Return what stands under a heading, to the next one."""
    return re.split(rf"^#+ {title}$", text, flags=re.M)[1].partition("\n#")[0]


def _columns(form: Form) -> str:
    """Return the cell of the columns that a form needs and may read."""
    needs, reads = (
        ", ".join("/".join(f"`{name}`" for name in column.split("|")) for column in columns)
        for columns in (form.needs, form.reads)
    )
    return f"{needs}, maybe {reads}" if reads else needs
