"""The key depends on everything a result may depend on, and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stages.key import stage_key

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip
CALLS = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(["sample", "score"]),
        "version": st.integers(1, 3),
        "config": PLAIN,
        "inputs": st.dictionaries(st.sampled_from(["policy", "gold.0", "gold.1"]), st.text("ab")),
        "seed": st.none() | st.integers(),
        "arguments": st.dictionaries(st.sampled_from("xy"), PLAIN),
    }
)


def _key(call: dict) -> str:
    rest = {name: value for name, value in call.items() if name not in ("stage", "version")}
    return stage_key(call["stage"], call["version"], **rest)


def _same(a: object, b: object) -> bool:
    """Whether two values are written the same way; 1, 1.0 and True are not."""
    return repr(_sorted(a)) == repr(_sorted(b))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return sorted((key, _sorted(item)) for key, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value


@given(CALLS, CALLS, st.sampled_from(["stage", "version", "config", "inputs", "seed", "arguments"]))
def test_any_one_change_changes_the_key(call: dict, other: dict, what: str) -> None:
    changed = {**call, what: other[what]}
    assert (_key(changed) == _key(call)) == _same(call[what], other[what])


def test_two_processes_agree() -> None:
    """Whatever their hash seeds and the order in which the dict was filled."""
    script = (
        "from tasks.stages.key import stage_key\n"
        "print(stage_key('s', 1, config={'b': {'x', 'y'} and [1.5, None], 'a': 'é'},"
        " inputs={'q': '1', 'p': '2'}, seed=7))"
    )
    root = Path(__file__).parents[3]
    keys = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    here = stage_key(
        "s", 1, config={"a": "é", "b": [1.5, None]}, inputs={"p": "2", "q": "1"}, seed=7
    )
    assert keys == {here}


def test_known_key() -> None:
    """Keys of finished work must not change between versions: sha256 of
    {"arguments":{},"config":{"n":4},"inputs":{"policy":"ab"},"seed":0,"stage":"sample","version":1}
    """
    key = stage_key("sample", 1, config={"n": 4}, inputs={"policy": "ab"}, seed=0)
    assert key == "402fe0e7681bef426f493345428f866f1853c3fe10510e34564fde3fa8e8b273"


@pytest.mark.parametrize("value", [{1}, object(), b"x", float("nan"), {1: 2}])
def test_what_cannot_be_hashed_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=r"stage s cannot be given a key: config\.rates\[1\]"):
        stage_key("s", 1, config={"rates": [0, value]}, inputs={}, seed=None)
