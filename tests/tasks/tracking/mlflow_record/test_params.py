"""What MLflow is given fits it."""

from __future__ import annotations

from tasks.storage.digests import sha256_json
from tasks.tracking.mlflow_record.params import clean_name, flatten


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], "f": None, "g": "text"}) == {
        "a.b": "1", "a.c": "{}", "d": '[1,{"e":2}]', "f": "null", "g": "text",
    }  # fmt: skip


def test_a_long_value_is_cut_and_named_by_its_digest() -> None:
    text = "x" * 501
    assert flatten({"a": text})["a"] == f"{'x' * 500}… sha256:{sha256_json(text)}"
    assert flatten({"a": text[:500]})["a"] == text[:500]


def test_names() -> None:
    assert clean_name("loss/dev a.b-c:1") == "loss/dev a.b-c:1"
    assert clean_name("odd·{name}") == "odd__name_"
