"""What `placement` may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from flows.configs.placement import Place, Placement


def test_a_pool_is_a_name_or_says_more() -> None:
    placement = Placement.model_validate(
        {"gpu": {"pool": "a100", "slots": 4, "priority": 1}, "cpu": "cheap"}
    )
    assert placement.places() == {
        "gpu": Place(pool="a100", slots=4, priority=1, queue="gpu"),
        "cpu": Place(pool="cheap", queue="default"),
    }
    assert Placement(gpu=Place(pool="a", slots=1, queue="night")).places()["gpu"].queue == "night"
    assert Placement().places() == {}


@pytest.mark.parametrize(
    "wrong",
    [{"tpu": "a"}, {"gpu": ""}, {"gpu": "a/b"}, {"gpu": {"pool": "a", "slots": 0}}, {"gpu": {}}],
)
def test_what_prefect_would_refuse_is_refused_before(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Placement.model_validate(wrong)
