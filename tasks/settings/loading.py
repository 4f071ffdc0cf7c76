"""From a YAML file and `--set a.b=c` to a checked config, with one clear sentence per problem."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.settings.errors import ConfigError, closest
from tasks.settings.problems import sentences
from tasks.settings.yaml_text import MAX_BYTES, read_yaml, write_yaml

Model = TypeVar("Model", bound=BaseModel)

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}?")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_config(path: Path) -> dict[str, Any]:
    """Read a YAML config with `${NAME}` in its strings replaced from the environment.

    Args:
        path: the file: UTF-8, at most 1 MB, no tags. `$${NAME}` stands for a literal `${NAME}`.

    Returns:
        The tree of plain values; an empty file is an empty tree.

    Raises:
        ConfigError: for a missing or unreadable file, bad YAML, or a name that is not set.
    """
    path = Path(path)
    tree = read_yaml(_read_text(path), str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds a {type(tree).__name__}; expected keys and values")
    expanded = _map_strings(tree, "", lambda text, key: _expand(text, f"{path}: {key}"))
    return dict(expanded)


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `tree` with single values replaced.

    Args:
        tree: as from `load_config`; not changed.
        overrides: `a.b=c` each: dotted key (a number picks from a list), then a value in YAML;
            an empty value is null. Whether the key exists is for `validate` to say.

    Raises:
        ConfigError: for a text that is not of this form, naming it.
    """
    tree = copy.deepcopy(tree)
    for override in overrides:
        dotted, equals, text = override.partition("=")
        keys = dotted.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override!r} is not of the form a.b=c")
        value = read_yaml(text, f"--set {override!r}")
        value = _map_strings(value, dotted, lambda text, key: _expand(text, f"--set {key}"))
        _put(tree, keys, value, override)
    return tree


def validate(model_class: type[Model], tree: dict[str, Any], where: str) -> Model:
    """Check a tree of plain values and return the config it describes; `where` names its file.

    Raises:
        ConfigError: with one line per problem: the dotted key, what was got and what to do.
    """
    try:
        return model_class.model_validate(tree)
    except ValidationError as error:
        lines = [f"{where}: {sentence}" for sentence in sentences(error, tree, model_class)]
        raise ConfigError("\n".join(lines)) from error


def dump_config(model: BaseModel) -> str:
    """Write a config as YAML that `load_config` and `validate` turn into an equal one.

    Secrets (pydantic's SecretStr) are written as asterisks.
    """
    tree = model.model_dump(mode="json")
    return write_yaml(_map_strings(tree, "", lambda text, key: text.replace("${", "$${")))


def _read_text(path: Path) -> str:
    """Return the file's text, or raise a ConfigError that says why not."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes; a config is small text")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [str(file) for file in sorted(path.parent.glob("*.y*ml"))]
        match = closest(str(path), near)
        hint = f"did you mean {match}?" if match else "check the path"
        raise ConfigError(f"there is no file {path}; {hint}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason} at {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _map_strings(node: Any, key: str, change: Callable[[str, str], str]) -> Any:
    """Return a copy of a tree with every string value changed, given its dotted key."""
    if isinstance(node, str):
        return change(node, key)
    if isinstance(node, list):
        return [_map_strings(item, f"{key}.{index}", change) for index, item in enumerate(node)]
    if isinstance(node, dict):
        prefix = f"{key}." if key else ""
        return {name: _map_strings(item, prefix + name, change) for name, item in node.items()}
    return node


def _expand(text: str, where: str) -> str:
    """Replace `${NAME}` in one string value."""

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return match.group()[1:]
        if not _VARIABLE_NAME.fullmatch(name) or not match.group().endswith("}"):
            raise ConfigError(
                f"{where} has {match.group()!r}; write ${{NAME}} with a variable's name, "
                "or $${ for a literal ${"
            )
        if name not in os.environ:
            raise ConfigError(
                f"{where} uses ${{{name}}}, which is not set in the environment; "
                f"export {name}=… or write the value itself"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def _put(tree: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    """Set one value, making the dicts on the way to it."""
    node: Any = tree
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        index: Any = key
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                raise ConfigError(
                    f"--set {override!r}: {'.'.join(keys[:position])} is a list of {len(node)}; "
                    f"{key!r} is not a place in it (they count from 0)"
                )
            index = int(key)
        if last:
            node[index] = value
        else:
            child = node[index] if isinstance(node, list) else node.get(index)
            if not isinstance(child, (dict, list)):
                child = node[index] = {}
            node = child
