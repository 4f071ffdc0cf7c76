"""Tables are as wide as the terminal, and break a word only where it is wider than that."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flows.runs.tables import Fitted, columns, shared_width, table

KEY = "config.training.learning_rate:"
ROWS = [
    {
        "": "· to run",
        "stage": "compute_reference_logps · a long name",
        "took": "",
        "why": KEY,
    },
    {"": "✓ done", "stage": "prepare_data", "took": "", "why": f"{KEY} 0.0005 → 0.0001; " * 3},
]


def drawn(what: Fitted, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return out.getvalue().splitlines()


def test_no_word_is_broken_at_eighty_columns() -> None:
    """Rich alone halves both columns that give way, and breaks the key of the configuration."""
    lines = drawn(columns(ROWS, folded={"stage", "why"}), 80)
    assert max(map(len, lines)) <= 80
    assert sum(KEY in line for line in lines) == 4, lines
    assert "took" not in lines[0], "nothing is below that heading"
    boxed = drawn(table(("input", "made by"), [(KEY, "compute_reference_logps " * 4)]), 80)
    assert max(map(len, boxed)) <= 80
    assert any(f"│ {KEY} " in line for line in boxed)


def test_what_fits_stays_on_its_line() -> None:
    assert len(drawn(columns(ROWS, folded={"stage", "why"}), 400)) == 4


def test_a_word_wider_than_the_terminal_is_kept_whole_in_parts() -> None:
    lines = drawn(table(("key",), [("k" * 100,)]), 40)
    assert max(map(len, lines)) <= 40 and "".join(lines).count("k") == 101


@pytest.mark.parametrize(
    ("wanted", "least", "room", "widths"),
    [
        ([10, 20], [5, 5], 100, [10, 20]),  # all that they want
        ([10, 50], [10, 20], 40, [10, 30]),  # the first needs what it wants
        ([10, 20, 60], [5, 5, 5], 45, [10, 17, 18]),  # 30 to spare: 5, then 12 of 25, then 13
        ([10, 20], [10, 20], 29, [None, None]),
        ([], [], 5, []),
    ],
)
def test_shared_width(
    wanted: list[int], least: list[int], room: int, widths: list[int | None]
) -> None:
    assert shared_width(wanted, least, room) == widths
