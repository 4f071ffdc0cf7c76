"""Pins the source of each stage, so that nobody changes one and forgets its version.

After raising a version, or after a change that cannot change results, pin anew:

    python -m tasks.stages.versions
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from tasks.storage.files import read_json, write_json

COMMAND = "python -m tasks.stages.versions"
"""Pins all stages as they are now."""
PINS = Path("tests/tasks/stages/versions.json")
"""The pinned versions, from the repository's root."""


class Pin(TypedDict):
    """A stage as it was when it was pinned."""

    version: int
    """The number at the stage."""
    sha256: str
    """SHA-256 of the body, without comments, docstrings and layout."""


def stage_pins(folder: Path) -> dict[str, Pin]:
    """Return the pins of the stages in the files of a folder (not below it), by stage name.

    What a file defines beside its stages counts to each of them; imports and docstrings do not.
    """
    pins: dict[str, Pin] = {}
    for path in sorted(folder.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"), str(path))
        stages = dict(_stages(module))
        beside = [
            node
            for node in module.body
            if node not in stages and not isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        for node, version in stages.items():
            source = "\n".join(_normalised(item) for item in [*beside[_docstring(module) :], node])
            pins[node.name] = {
                "version": version,
                "sha256": hashlib.sha256(source.encode()).hexdigest(),
            }
    return pins


def problems(now: dict[str, Pin], pinned: dict[str, Pin]) -> list[str]:
    """Return one sentence, with what to do, per stage that differs from its pin."""
    found = []
    for name in sorted(now.keys() | pinned.keys()):
        if name not in pinned:
            found.append(f"stage {name} is new: run `{COMMAND}`")
        elif name not in now:
            found.append(f"stage {name} is pinned and gone: run `{COMMAND}`")
        elif now[name]["sha256"] != pinned[name]["sha256"]:
            if now[name]["version"] == pinned[name]["version"]:
                found.append(
                    f"the body of stage {name} changed and its version is still "
                    f"{now[name]['version']}: if results may differ, raise the version in its "
                    f"@stage_task; then run `{COMMAND}`"
                )
            else:
                found.append(f"stage {name} has a new version: run `{COMMAND}`")
        elif now[name]["version"] != pinned[name]["version"]:
            found.append(f"stage {name} has another version than its pin: run `{COMMAND}`")
    return found


def _stages(module: ast.Module) -> Iterator[tuple[ast.FunctionDef, int]]:
    """Yield the functions decorated with `@stage_task(version=N)` and their N."""
    for node in module.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "stage_task":
                given = {word.arg: word.value for word in decorator.keywords}
                number = given.get("version") or decorator.args[0]
                yield node, int(ast.literal_eval(number))


def _docstring(module: ast.Module) -> int:
    """Return how many of a module's first statements are its docstring: 0 or 1."""
    return int(ast.get_docstring(module) is not None)


def _normalised(node: ast.stmt) -> str:
    """Return the source of a statement without comments, docstrings, decorators and layout."""
    tree = ast.parse(ast.unparse(node))
    for item in ast.walk(tree):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            item.decorator_list = []
            if ast.get_docstring(item) is not None:
                item.body = item.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def main() -> None:
    """Pin all stages as they are now."""
    pins = stage_pins(Path("tasks"))
    for sentence in problems(pins, read_json(PINS) if PINS.exists() else {}):
        print(sentence.partition(":")[0])
    write_json(PINS, pins)


if __name__ == "__main__":
    main()
