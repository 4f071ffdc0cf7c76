"""Settings that cannot change a result are in no stage's key; every other setting is."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.prices import Price
from tasks.gold.server_provider import ServerGoldConfig
from tasks.models.sampling.config import SamplingConfig, ServerConfig
from tasks.settings.base import NOT_IN_KEY, key_settings
from tasks.stages.key import stage_key
from tasks.training.config import PolicyConfig, TrainingConfig
from tests.tasks.stages.every_stage import STAGES, config_of, example

MARKED = {
    "EndpointConfig": {
        "api_key", "budget", "concurrency", "limit_key", "patience", "price",
        "requests_per_minute", "tokens_per_minute", "url",
    },
    "GoldConfig": {"path"},
    "HumanEvaluationConfig": {"folder", "label_studio"},
    "PeopleConfig": {"folder", "label_studio"},
    "PlaygroundConfig": {"folder"},
    "PolicyModelConfig": {"path"},
    "PpoConfig": {"keep_checkpoints", "logging_steps", "save_every"},
    "SamplingConfig": {"stall_seconds"},
    "ServerConfig": {"gpus", "ready_seconds", "request_seconds", "retries"},
    "TrainingConfig": {"keep_checkpoints", "logging_steps", "save_every"},
}  # fmt: skip
"""All of them, by class: who marks another one says here that no result can depend on it."""
_ENDPOINT = EndpointConfig(
    url="https://a.example/v1", model="m", price=Price(prompt=0, completion=0)
)
FULLER: dict[str, Any] = {
    "sampling": SamplingConfig(engine="server", server=ServerConfig(command=("a", "{port}"))),
    "server": ServerGoldConfig(endpoint=_ENDPOINT),
}
"""Fields that are given more than their default, so that what is nested is looked at too."""


def other(value: Any) -> Any:
    """Return a value that is not the given one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return 2 * value + 1
    if isinstance(value, Path):
        return value / "other"
    if isinstance(value, dict):
        return {**value, "other": "one"}
    if isinstance(value, (list, tuple)):
        return type(value)([*value, "other"])
    return "wgan" if value == "apo_rm" else f"{value} other"  # the objective must be a known one


def changes(config: BaseModel) -> Iterator[tuple[str, bool, BaseModel]]:
    """Yield the name of each field, whether it is marked, and the config with only it changed.

    What a config does not write down, the coefficients of other methods, counts as marked.
    """
    written = config.model_dump()
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel) and type(value).model_fields:
            for inner, is_marked, changed in changes(value):
                is_marked = is_marked or name not in written or NOT_IN_KEY in field.metadata
                yield f"{name}.{inner}", is_marked, config.model_copy(update={name: changed})
        else:
            changed = config.model_copy(update={name: other(value)})
            yield name, NOT_IN_KEY in field.metadata, changed


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("name", [name for name in STAGES if "config" in example(STAGES[name])])
def test_a_marked_field_keeps_the_key_and_any_other_changes_it(name: str) -> None:
    spec = STAGES[name]
    config = config_of(typing.get_type_hints(spec.body)["config"])
    more = {field: FULLER[field] for field in FULLER if field in type(config).model_fields}
    config = config.model_copy(update=more)
    key = spec.bind((), example(spec, config=config)).key
    seen = list(changes(config))
    for field, is_marked, changed in seen:
        again = spec.bind((), example(spec, config=changed)).key
        assert (again == key) == is_marked, field
    assert len(seen) >= len(type(config).model_fields)


def test_no_other_field_is_marked() -> None:
    found: dict[str, set[str]] = {}

    def look(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            if NOT_IN_KEY in field.metadata:
                found.setdefault(model.__name__, set()).add(name)

    pending = [BaseModel]
    while pending:
        model = pending.pop()
        pending += model.__subclasses__()
        if model.__module__.startswith(("tasks.", "flows.")):
            look(model)
    assert found == MARKED


def test_models_in_lists_and_dicts_are_looked_at() -> None:
    class Many(BaseModel):
        items: list[TrainingConfig]
        named: dict[str, PolicyConfig]

    plain, long = TrainingConfig(), TrainingConfig(save_every=7)
    one = Many(items=[plain], named={"a": PolicyConfig(training=plain)})
    two = Many(items=[long], named={"a": PolicyConfig(training=long)})
    assert key_settings(one) == key_settings(two) != one.model_dump(mode="json")
    assert "save_every" not in str(key_settings(one)) and "learning_rate" in str(key_settings(one))


def test_what_is_no_config_stays_as_it_is() -> None:
    assert key_settings(None) is None and key_settings({"n": 4}) == {"n": 4}
    assert stage_key("a", 1, config=key_settings({"n": 4}), inputs={}, seed=0) == stage_key(
        "a", 1, config={"n": 4}, inputs={}, seed=0
    )
