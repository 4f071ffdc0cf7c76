"""Walking a configuration: its parts, those of lists and mappings in it, and the parts of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tasks.settings.base import GPUS, FrozenConfig


def with_parts(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a config, list, tuple or dict with each part directly in it changed.

    Args:
        value: Anything; what has no parts is returned as it is, and so is what does not change.
        change: Returns a part in its new form, the same object where it stays.
    """
    parts = dict(_parts(value))
    found = {name: change(part) for name, part in parts.items()}
    changed = {name: part for name, part in found.items() if part is not parts[name]}
    if not changed:
        return value
    if isinstance(value, FrozenConfig):
        return value.model_copy(update=changed)
    return found if isinstance(value, dict) else type(value)(found.values())


def configs_in(value: Any, key: str = "") -> Iterator[tuple[str, FrozenConfig]]:
    """Yield the dotted key and every config of a configuration, each before those inside it.

    Args:
        value: A config, or what a field of one holds.
        key: The dotted key of `value`.
    """
    if isinstance(value, FrozenConfig):
        yield key, value
    for name, part in _parts(value):
        yield from configs_in(part, f"{key}.{name}".lstrip("."))


def gpus_in(value: Any) -> Iterator[tuple[str, int]]:
    """Yield the dotted key and the value of every field of a configuration that counts GPUs."""
    for key, config in configs_in(value):
        for name, field in type(config).model_fields.items():
            if GPUS in field.metadata:
                yield f"{key}.{name}".lstrip("."), getattr(config, name)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, FrozenConfig):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
        yield from (value.__pydantic_extra__ or {}).items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()
