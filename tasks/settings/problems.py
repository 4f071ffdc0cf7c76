"""Pydantic's findings as sentences: the dotted key, what was got, what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.settings.base import unknown_key_text
from tasks.settings.errors import closest

_SECRET = re.compile(r"secret|password|credential|api_?key|(^|[._])token$", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'")
_LONGEST = 80


def sentences(error: ValidationError, tree: Any, model: type[BaseModel]) -> Iterator[str]:
    """Say each problem of validating `tree` as `model` once.

    Yields:
        One sentence per dotted key, beginning with it.
    """
    found: dict[str, list[tuple[bool, str]]] = {}
    for problem in error.errors(include_url=False):
        key, through_union = _dotted(problem, tree)
        found.setdefault(key, []).append((through_union, _text(problem, key, model)))
    for key, texts in found.items():
        # Of a union the branch that was meant got further in; the others only add noise.
        deeper = any(other.startswith(f"{key}.") for other in found)
        kept = [text for through_union, text in texts if not (deeper and through_union)]
        if kept:
            yield _sentence(key, list(dict.fromkeys(kept)))


def _sentence(key: str, texts: list[str]) -> str:
    """Put what the branches of a union found about one key into one sentence."""
    got = texts[0].partition("; ")[0] + "; "
    text = ", or ".join([texts[0], *(other.removeprefix(got) for other in texts[1:])])
    if not key or text.startswith(f"unknown key {key!r}"):
        return text
    return f"{key} {text}" if text.startswith("is missing") else f"{key}: {text}"


def _dotted(problem: Any, tree: Any) -> tuple[str, bool]:
    """Return where in the tree a problem stands, and whether the way led through a union.

    Pydantic puts the names of a union's branches into the location; they are no keys.
    """
    keys: list[str] = []
    through_union = False
    node = tree
    location = problem["loc"]
    for position, item in enumerate(location):
        if isinstance(node, dict) and item in node:
            node = node[item]
        elif isinstance(node, list) and isinstance(item, int) and item < len(node):
            node = node[item]
        elif not (problem["type"] == "missing" and position == len(location) - 1):
            through_union = True
            continue
        keys.append(str(item))
    return ".".join(keys), through_union


def _text(problem: Any, key: str, model: type[BaseModel]) -> str:
    """Return the sentence about one problem, without its key."""
    kind, message = problem["type"], problem["msg"]
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        return unknown_key_text(str(problem["loc"][-1]), model)
    if kind == "unknown_key":
        return str(message)
    if kind == "value_error":
        message = str(problem["ctx"]["error"])
        if _shown(problem["input"], key) == "a dict":
            return message
    message = re.sub(r"^(Input|Value|Field) should", "it should", message)
    return f"got {_shown(problem['input'], key)}; {message}{_suggestion(problem)}"


def _suggestion(problem: Any) -> str:
    """Return a question when one of a few allowed words was probably meant."""
    given = problem["input"]
    if problem["type"] not in ("literal_error", "enum") or not isinstance(given, str):
        return ""
    match = closest(given, _QUOTED.findall(problem["ctx"]["expected"]))
    return f"; did you mean {match!r}?" if match else ""


def _shown(value: Any, key: str) -> str:
    """Return a value for a message: short, and hidden where its key sounds secret."""
    if _SECRET.search(key):
        return "a hidden value"
    if isinstance(value, BaseModel) or (isinstance(value, dict) and len(repr(value)) > _LONGEST):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
