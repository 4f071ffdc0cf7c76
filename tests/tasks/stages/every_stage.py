"""Every stage of the house, with arguments for a call of each."""

from __future__ import annotations

import inspect
import pkgutil
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import tasks
from tasks.settings.base import FrozenConfig
from tasks.stages.artifact import Artifact
from tasks.stages.call import StageSpec
from tasks.stages.prefect_task import StageTask


def stages() -> Iterator[StageSpec]:
    """Yield every stage of the house."""
    for module in pkgutil.iter_modules(tasks.__path__):
        if not module.ispkg:
            stage = getattr(import_module(f"tasks.{module.name}"), module.name)
            if isinstance(stage, StageTask):
                yield stage.spec


STAGES = {spec.name: spec for spec in stages()}
CONFIGS: dict[str, dict[str, Any]] = {
    "AvaReportConfig": {
        "entries": [{"name": "start", "line": "start", "kind": "start"}],
        "judges": ["oracle"],
    },
    "DataConfig": {"playground": {"folder": "data/playground"}},
    "EndpointConfig": {
        "url": "https://a.example/v1",
        "model": "m",
        "price": {"prompt": 0, "completion": 0},
    },
    "GoldConfig": {"path": "gold.jsonl"},
    "PolicyModelConfig": {"path": "models/start"},
    "ReferenceConfig": {"method": "dpo"},
    "DensityConfig": {"betas": {"dpo": 0.1}},
    "ExoReportConfig": {"entries": [{"name": "start", "kind": "start"}]},
    "SourceConfig": {"path": "a.jsonl"},
    "TextsConfig": {"corpus": [{"path": "a.jsonl"}], "prompts": [{"path": "b.jsonl"}]},
}
"""What a class needs that its fields do not say one by one."""


def artifact(number: int = 0, subpath: str = "") -> Artifact:
    """A finished output of some stage."""
    key = f"{number:064x}"
    return Artifact(f"{number:032x}.dir", Path("/elsewhere"), "prepare_data", key, "data", subpath)


def example(spec: StageSpec, **values: Any) -> dict[str, Any]:
    """Arguments for a stage, made from its annotations."""
    hints = typing.get_type_hints(spec.body)
    arguments: dict[str, Any] = {}
    for parameter in spec.signature.parameters.values():
        name, hint = parameter.name, hints.get(parameter.name)
        if name in ("workspace", "log"):
            continue
        if name in values:
            arguments[name] = values[name]
        elif name in spec.input_names:
            shape = str(hint)
            one = artifact(len(arguments) + 1, "train")
            if "dict" in shape:
                arguments[name] = {"z": one, "a": artifact(99)}
            elif "list" in shape:
                arguments[name] = [one, artifact(98)]
            else:
                arguments[name] = one
        elif name == "config":
            arguments[name] = config_of(hint)
        elif hint is int:
            arguments[name] = 7
        elif name == "match":
            arguments[name] = "APO vs start"
        elif parameter.default is inspect.Parameter.empty:
            raise AssertionError(f"{spec.name}: say in this test how {name} looks")
    return arguments


def config_of(model: Any) -> Any:
    """Return a config of a class: what it needs, and its defaults."""
    needed = {
        name: config_of(field.annotation) if _is_config(field.annotation) else _some(field)
        for name, field in model.model_fields.items()
        if field.is_required()
    }
    return model(**(needed | CONFIGS.get(model.__name__, {})))


def _some(field: Any) -> Any:
    """Return some value of a field that holds no config."""
    kind = typing.get_origin(field.annotation) or field.annotation
    return {int: 1, float: 1.0, str: "start", tuple: (), dict: {}}.get(kind)


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, FrozenConfig)
