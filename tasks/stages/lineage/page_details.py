"""What a lineage page says about each node: digests, settings, where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Edge, Node
from tasks.stages.manifest import Manifest
from tasks.stages.runs.run_store import Run

Link = Callable[[Node], str | None]
"""Returns the address of a node's page in MLflow, or None where there is none."""

PLACES = {
    "": "",
    "here": "",
    "remote": "its files lie on the remote",
    "removed": "its files were removed",
    "gone": "removed; only those who used it still know it",
}
"""What the page says about where an output is."""


class Subject:
    """What a page shows; nodes are numbered, for names may hold anything."""

    def __init__(self, graph: Graph, focus: str, link: Link) -> None:
        self.graph, self.focus, self.link = graph, focus, link
        self.drawn = [node for node in graph.nodes.values() if node.kind != "run"]
        self.ids = {node.id: str(index) for index, node in enumerate(self.drawn)}
        known = {node.key: node for node in graph.nodes.values() if node.kind == "run"}
        others = {node.made_by for node in self.drawn} - {"", *known}
        missing = {name: Node(f"run/{name}", "run", name) for name in others}
        self.runs = dict(sorted({**known, **missing}.items()))
        self.ids |= {node.id: f"r{index}" for index, node in enumerate(self.runs.values())}

    def name_of(self, name: str) -> str:
        """Return what people call a node."""
        node = self.graph.nodes.get(name)
        return node.title if node else name

    def facts(self, node: Node) -> list[tuple[str, Any]]:
        """Return the names and values that identify an output or a file."""
        name = "key" if node.kind == "artifact" else "file"
        facts: list[tuple[str, Any]] = [(name, node.key), ("digest", node.digest)]
        if made := node.manifest:
            past = made.provenance
            facts += [("seed", made.seed), ("version", made.version), ("bytes", f"{made.size:,}")]
            facts += [("created", past.get("created", "")), ("seconds", past.get("seconds", ""))]
            facts += [("git commit", past.get("git_commit", ""))]
        return _known(facts)

    def run_facts(self, run: Run) -> list[tuple[str, Any]]:
        """Return the names and values that describe a flow run."""
        return _known(
            [(name, getattr(run, name)) for name in ("flow", "status", "started", "updated")]
        )

    def callers(self, node: Node) -> dict[str, str]:
        """Return how each run dealt with an output, by the run's node id: it made or used it."""
        roles = {edge.source: edge.role for edge in self.graph.callers.get(node.id, [])}
        return {**roles, f"run/{node.made_by}": "made"} if node.made_by else roles

    def calls(self, node: Node) -> dict[str, list[Edge]]:
        """Return the edges to what a run made, and to what it used."""
        edges = self.graph.calls.get(node.id) or [
            Edge(node.id, one.id, "made") for one in self.drawn if one.made_by == node.key
        ]
        return {
            role: [edge for edge in edges if edge.role == role and edge.target in self.ids]
            for role in ("made", "used")
        }

    def linked(self, edges: list[Edge], end: str) -> list[tuple[str, str]]:
        """Return the shown nodes at one end of edges, "source" or "target", each with its role."""
        return [
            (getattr(edge, end), "" if edge.role in ("made", "used") else role_text(edge))
            for edge in edges
            if getattr(edge, end) in self.ids
        ]


def role_text(edge: Edge) -> str:
    """Return an input's role, with the part that was read."""
    return f"{edge.role} ({edge.part})" if edge.part else edge.role


def settings(made: Manifest | None) -> list[str]:
    """Return an output's arguments and configuration, one value per line."""
    return list(_flat({**made.arguments, "config": made.config}, "")) if made else []


def _known(facts: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in facts if value not in ("", None)]


def _flat(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{where}.{name}" if where else str(name))
    elif value is not None:
        yield f"{where} = {value}"
