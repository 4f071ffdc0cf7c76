"""What `sparring why` prints: where the ancestries of two artifacts, or two runs, first differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.cli.lineage import find_node, known_graph
from flows.runs.console import print_json
from tasks.settings.errors import ConfigError
from tasks.settings.printable import printable
from tasks.stages.lineage.difference import (
    Cause,
    environment_changes,
    find_causes,
    matching_outputs,
)
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node

_MOST_CAUSES = 12


def show_why(first: str, second: str, console: Console, *, as_json: bool) -> None:
    """Print where the ancestries of two artifacts, or two runs, first differ.

    Raises:
        ConfigError: There is no such thing, or one is a run and the other is not.
    """
    graph = known_graph(console)
    left, right = find_node(graph, first), find_node(graph, second)
    causes = _causes_between(graph, left, right)
    same = left.id == right.id or (bool(left.digest) and left.digest == right.digest)
    besides = environment_changes(left, right)
    if as_json:
        answer: dict[str, Any] = {"first": left.id, "second": right.id, "equal": same}
        answer["causes"] = [asdict(cause) for cause in causes]
        answer["environment"] = [str(change) for change in besides]
        print_json(answer)
        return
    if left.id == right.id:
        console.print(f"both are {printable(left.title)} {left.key[:12]}", highlight=False)
        return
    if same:
        console.print(f"both have the content {left.digest}, though made differently:")
    if not causes:
        console.print("nothing they come from differs")
    for number, cause in enumerate(causes[:_MOST_CAUSES]):
        console.print(_cause_text("first" if number == 0 else "also", cause), soft_wrap=True)
    if (more := len(causes) - _MOST_CAUSES) > 0:
        console.print(f"and {more} more; --json has them all")
    for change in besides:
        console.print(f"besides, in no key: {printable(str(change))}", highlight=False)


def _causes_between(graph: Graph, left: Node, right: Node) -> list[Cause]:
    """Return the differences between two artifacts, or between what two runs made."""
    if (left.run is None) != (right.run is None):
        raise ConfigError(f"{left.title} and {right.title}: give two runs or two artifacts")
    if left.run is None:
        return find_causes(graph, left.id, right.id)
    pairs = matching_outputs(graph, left.id, right.id)
    if not pairs:
        raise ConfigError(f"{left.key} and {right.key} have no finished stage of one name")
    found: dict[tuple[str, str], Cause] = {}
    for one, two in pairs:
        for cause in find_causes(graph, one, two):
            found.setdefault((cause.left, cause.right), cause)
    order = {name: place for place, name in enumerate(graph.members(left.id))}
    return sorted(found.values(), key=lambda cause: order.get(cause.left, -1))


def _cause_text(word: str, cause: Cause) -> Text:
    """Describe a difference."""
    keys = [name.partition("/")[2][:12] for name in (cause.left, cause.right)]
    text = Text(f"{word}: ", "bold" if word == "first" else "bright_black")
    text.append(printable(cause.title), "bold").append(f"  {' | '.join(keys)}", "cyan")
    for change in cause.changes:
        text.append(f"\n  {printable(str(change))}")
    if cause.path:
        text.append(f"\n  reached by {printable(' › '.join(cause.path))}", "bright_black")
    return text
