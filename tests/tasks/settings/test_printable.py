"""What the user's text looks like where it is shown."""

from __future__ import annotations

import pytest

from tasks.settings.printable import excerpt, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jürgen's café 東京 🙂", "jürgen's café 東京 🙂"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\tc\r\x07", r"a\nb\tc\r\x07"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("name-\udcff", r"name-\udcff"),
    ],
)
def test_only_what_is_obeyed_and_not_shown_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_page_keeps_its_lines() -> None:
    assert printable("a\n\x1bb", keep="\n") == "a\n\\x1bb"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello.", "“Hello.”"),
        ("one two three four", "“one two …”"),
        ("  one\n\ntwo  ", "“one two”"),
        ("x" * 30, "“xxxxxxxxxx …”"),
        ("\x1b[31mred", r"“\x1b[31mred”"),
    ],
)
def test_an_excerpt_is_a_few_whole_words_on_one_line(text: str, shown: str) -> None:
    assert excerpt(text, 10) == shown
