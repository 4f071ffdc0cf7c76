"""The lineage graph: what was made from what, by manifests and the journals of runs.

It needs no server and no heavy library. What housekeeping has removed is still there by name, as
far as those who used it know it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.stages.lineage.nodes import Edge, Node, mentioned_node
from tasks.stages.manifest import InputRecord, Manifest

ManifestReader = Callable[[str, str], Manifest | None]
"""Returns the manifest of a stage and a key, from wherever there is one."""


@dataclass
class Graph:
    """Nodes by id, and the edges between them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    """All nodes by id, in the order they were found."""
    into: dict[str, list[Edge]] = field(default_factory=dict)
    """The inputs of each output."""
    out_of: dict[str, list[Edge]] = field(default_factory=dict)
    """The edges from each thing to what was made of it."""
    calls: dict[str, list[Edge]] = field(default_factory=dict)
    """The edges from each run to what it made and used, by the run's node id."""
    callers: dict[str, list[Edge]] = field(default_factory=dict)
    """The same edges as `calls`, by what was made or used."""
    cut: set[str] = field(default_factory=set)
    """Outputs whose inputs were left out because there are too many."""

    @property
    def edges(self) -> list[Edge]:
        """All edges."""
        groups = (*self.into.values(), *self.calls.values())
        return [edge for group in groups for edge in group]

    def add(self, node: Node) -> None:
        """Add a node, unless more is known of it already."""
        old = self.nodes.get(node.id)
        if old is None or old.manifest is None and (node.manifest or old.title == old.stage):
            self.nodes[node.id] = node

    def add_output(self, node: Node, files: Mapping[str, str]) -> None:
        """Add a stage's output and its inputs; `files` names users' files by their digest."""
        manifest = node.manifest
        if manifest is None or node.id in self.into:
            return
        self.add(node)
        names = dict(manifest.provenance.get("external", {}))
        edges = self.into[node.id] = []
        for role, record in sorted(manifest.inputs.items(), key=_role_order):
            source = mentioned_node(record, str(names.get(role) or files.get(record.digest, "")))
            self.add(source)
            edge = Edge(source.id, node.id, role, record.part)
            edges.append(edge)
            self.out_of.setdefault(source.id, []).append(edge)

    def add_call(self, run: str, target: str, role: str) -> None:
        """Note that a run made or used an output."""
        edges = self.calls.setdefault(run, [])
        if all(edge.target != target for edge in edges):
            edges.append(Edge(run, target, role))
            self.callers.setdefault(target, []).append(edges[-1])

    def inputs(self, name: str) -> list[Edge]:
        """Return the edges into a node."""
        return self.into.get(name, [])

    def outputs(self, name: str) -> list[Edge]:
        """Return the edges from a node to what was made of it; a run's calls."""
        return self.calls.get(name) or self.out_of.get(name, [])

    def members(self, run: str) -> list[str]:
        """Return the outputs that a run made or used."""
        return [edge.target for edge in self.calls.get(run, [])]

    def up(self, *names: str) -> list[str]:
        """Return the nodes and all they come from, the nearest first."""
        return self._walk(names, lambda name: (edge.source for edge in self.inputs(name)))

    def down(self, *names: str) -> list[str]:
        """Return the nodes and all that was made of them, the nearest first."""
        return self._walk(names, lambda name: (edge.target for edge in self.out_of.get(name, ())))

    def ends(self, names: Iterable[str]) -> list[str]:
        """Return those of the nodes from which no other of them was made."""
        inside = set(names)
        return [
            name
            for name in inside
            if not any(edge.target in inside for edge in self.out_of.get(name, ()))
        ]

    def around(self, names: Iterable[str]) -> Graph:
        """Return the part of the graph that has only these nodes."""
        inside = set(names)
        part = Graph(cut=self.cut & inside)
        part.nodes = {name: node for name, node in self.nodes.items() if name in inside}
        for kind in ("into", "out_of", "calls", "callers"):
            for name, edges in getattr(self, kind).items():
                kept = [edge for edge in edges if {edge.source, edge.target} <= inside]
                if kept:
                    getattr(part, kind)[name] = kept
        return part

    def to_json(self) -> dict[str, Any]:
        """Return all nodes and edges as plain values."""
        edges = [
            {"from": edge.source, "to": edge.target, "role": edge.role, "part": edge.part}
            for edge in self.edges
        ]
        return {"nodes": [node.to_json() for node in self.nodes.values()], "edges": edges}

    def _walk(self, names: Iterable[str], neighbours: Callable[[str], Iterator[str]]) -> list[str]:
        """Return what can be reached, in order of distance."""
        seen = dict.fromkeys(names)
        queue = deque(seen)
        while queue:
            for name in neighbours(queue.popleft()):
                if name not in seen:
                    seen[name] = None
                    queue.append(name)
        return list(seen)


def _role_order(item: tuple[str, InputRecord]) -> tuple[str, int, str]:
    """Sort roles by name, and the items of a list by number."""
    name, _, index = item[0].partition(".")
    return name, int(index) if index.isdigit() else -1, index
