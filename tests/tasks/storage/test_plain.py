"""JSON of plain values only: what is refused is named by its place."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.storage.plain import json_text


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"config": {"rates": [1.0, 2.0, float("inf")]}}, r"config\.rates\[2\] is inf"),
        ({"a": {1, 2}}, "a is a builtins.set"),
        ({"a": Path("x")}, "a is a pathlib"),
        ({"a": Decimal(1)}, "a is a decimal.Decimal"),
        ({"a": {1: 2}}, "a has the key 1 of type int"),
        (b"x", "the value is a builtins.bytes"),
        (["\ud800"], r"\[0\] holds"),
        ({"\ud800": 1}, "the value holds"),
    ],
)
def test_names_what_is_not_plain(value: Any, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        json_text(value)


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="in itself"):
        json_text(loop)


def test_indented_text_is_by_hand() -> None:
    assert json_text({"b": (1,), "a": "é"}, indent=2) == '{\n  "a": "é",\n  "b": [\n    1\n  ]\n}'
