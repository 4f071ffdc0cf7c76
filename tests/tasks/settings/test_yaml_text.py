"""YAML in and out: plain values both ways, and refusals of everything that could hurt."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.settings.errors import ConfigError
from tasks.settings.yaml_text import read_yaml, write_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
WORDS = st.sampled_from(
    ["no", "on", "1e-5", "1_0", "0x1f", "~", "null", "<<", "=", "12:30", "2024-01-01", ".inf", "",
     "010", "1.", ".5", "-", "*a", "!x", "true", "${A}", "a: b", "a #b", "+1", "-0x1"]
)  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | WORDS, inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_what_is_written_is_read_back(value: Any) -> None:
    back = read_yaml(write_yaml(value), "x")
    assert back == value and repr(back) == repr(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-5", {"a": 1e-5}),
        ("a: 1E3", {"a": 1000.0}),
        ("a: 1.5e+2", {"a": 150.0}),
        ("a: 10_000", {"a": 10_000}),
        ("a: 0x1F", {"a": 31}),
        ("a: 010", {"a": "010"}),
        ("a: no", {"a": "no"}),
        ("on: True", {"on": True}),
        ("1: x", {"1": "x"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: -.inf", {"a": -math.inf}),
        ("a:", {"a": None}),
        ("", None),
        ("b: &x {c: 1}\na:\n  <<: *x\n  d: 2", {"b": {"c": 1}, "a": {"c": 1, "d": 2}}),
        ("b: &x {c: 1}\na:\n  <<: *x\n  c: 2", {"b": {"c": 1}, "a": {"c": 2}}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert read_yaml(text, "x") == value


BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']", "line 1: the tag .*os.system.* not"),
        ("a: 1\nb: !mine x", "line 2: the tag '!mine'"),
        ("a: !!str 1", "not allowed"),
        ("a: 1\nb:\n  c: 1\n  c: 2", r"the key 'c' is there twice \(line 4"),
        ("? [1, 2]\n: 3", "a key must be plain text"),
        (BOMB, "100000 values once aliases"),
        ("a: &a [*a]", "names nothing finished"),
        ("a: *b", "names nothing finished"),
        ("[" * 51 + "]" * 51, "deeper than 50"),
        ("[" * 5000, "deeper than 50"),
        ("a: [1, 2", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: b: c", r"line 1, column 5"),
        ("a: " + "x" * 1_000_000, "larger than 1000000 bytes"),
    ],
)  # fmt: skip
def test_refused_with_place_and_reason(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(text, "run.yaml")
    assert str(caught.value).startswith("run.yaml") and "\n" not in str(caught.value)


def test_depth_of_fifty_is_allowed() -> None:
    assert read_yaml("[" * 50 + "]" * 50, "x") is not None
