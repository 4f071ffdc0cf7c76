"""The reference of a flow's keys, from its configuration's models and each field's docstring."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.escaping import escaped
from flows.registry import FLOWS

_LONG_DEFAULT = 60


def keys_page(flow: str) -> str:
    """Return the page of every key that a flow's configuration may have.

    Args:
        flow: Name of the flow.
    """
    entry = FLOWS[flow]
    places = sections_of(entry.config_class())
    first = f"---\nsearch: {{boost: 2}}\n---\n\n# Keys of `{flow}`\n\n{entry.summary}.\n\n" + (
        "Made from the code when this site was built. A key stands under the part of the file "
        "that it belongs to; parts of the same kind are described once. `sparring run "
        f"{flow} --dry-run` prints all keys of a configuration with their values.\n"
    )
    links = {model: _anchor(paths[0]) for model, paths in places.items()}
    return first + "".join(_section(model, paths, links) for model, paths in places.items())


def sections_of(root: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """Return every part of a configuration, in the order of reading, with the paths it is at.

    Args:
        root: The configuration's own class, whose path is empty.
    """
    places: dict[type[BaseModel], list[str]] = {}

    def visit(model: type[BaseModel], path: str) -> None:
        if model in places:
            places[model].append(path)
            return
        places[model] = [path]
        for name, field in model.model_fields.items():
            below = f"{path}.{name}" if path else name
            for part, suffix in _parts(below, field):
                visit(part, below + suffix)

    visit(root, "")
    return places


def _parts(path: str, field: FieldInfo) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the models that a field may hold, each with what its path ends in."""
    many = "[]" if get_origin(field.annotation) in (list, tuple) else ""
    for model in _models(field.annotation):
        yield model, many


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _section(model: type[BaseModel], paths: list[str], links: dict[type[BaseModel], str]) -> str:
    """Return one part: what it is, where it stands, and its keys."""
    path, *further = paths
    title = f"`{path}`" if path else "The file itself"
    where = ", ".join(f"`{one}`" for one in further)
    also = f"\n\nAlso at {where}." if further else ""
    keys = "".join(_key(path, name, field, links) for name, field in model.model_fields.items())
    about = _first_paragraph(model.__doc__ or "")
    return f"\n## {title} {{ #{_anchor(path)} }}\n\n{about}{also}\n{keys}"


def _key(path: str, name: str, field: FieldInfo, links: dict[type[BaseModel], str]) -> str:
    """Return one key as a definition: its type, its default, its docstring."""
    whole = f"{path}.{name}" if path else name
    anchor = _anchor(whole) + "-key"
    parts = [f"[its keys](#{links[part]})" for part, _ in _parts(whole, field) if part in links]
    facts = [type_name(field.annotation), *_limits(field), _default(field), *dict.fromkeys(parts)]
    text = " ".join((field.description or "").split())
    said = " · ".join(fact for fact in facts if fact)
    return f"\n`{name}` {{ #{anchor} }}\n:   <small>{said}</small>  \n    {escaped(text)}\n"


def type_name(annotation: Any) -> str:
    """Return a type in words that somebody who writes YAML knows.

    Args:
        annotation: Of a field.
    """
    plain = {
        str: "text", int: "whole number", float: "number", bool: "true or false",
        Path: "path", type(None): "none",
    }  # fmt: skip
    if annotation in plain:
        return plain[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inner[0])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        kinds = dict.fromkeys(type_name(one) for one in inner if one is not type(None))
        return " or ".join(kinds)
    if origin in (list, tuple):
        kinds = dict.fromkeys(type_name(one) for one in inner if one is not Ellipsis)
        return f"list of {' and '.join(kinds)}"
    if origin is dict:
        return f"map of {type_name(inner[0])} to {type_name(inner[1])}"
    return "part" if list(_models(annotation)) else "any"


def _limits(field: FieldInfo) -> Iterator[str]:
    """Yield the smallest and the largest value that a field takes."""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for rule in field.metadata:
        for sign, words in signs.items():
            if getattr(rule, sign, None) is not None:
                yield f"{words} {getattr(rule, sign):g}"


def _default(field: FieldInfo) -> str:
    """Return a field's default in words; a part's is told by its own keys."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "default: none"
    if isinstance(value, BaseModel):
        changed = value.model_dump(mode="json", exclude_defaults=True)
        words = ", ".join(f"{key}: {one}" for key, one in changed.items())
        return f"default: `{{{words}}}`" if changed else ""
    if value in ([], {}, (), ""):
        return "default: empty"
    if isinstance(value, bool):
        return f"default: `{str(value).lower()}`"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"default: `{text}`" if len(text) <= _LONG_DEFAULT else ""


def _anchor(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "file"


def _first_paragraph(text: str) -> str:
    return escaped(" ".join(text.split("\n\n")[0].split()))
