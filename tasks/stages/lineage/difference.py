"""Why two artifacts differ: their ancestries walked side by side, input by input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Edge, Node
from tasks.stages.lineage.page_layout import layers

_ABSENT = "(none)"


@dataclass(frozen=True, slots=True)
class Change:
    """One value in which two artifacts differ."""

    what: str
    """`version`, `seed`, `config.a.b`, `input ROLE`, `file NAME`, `library torch`, …"""
    before: Any
    """The value on the left; "(none)" where it is missing."""
    after: Any
    """The value on the right; "(none)" where it is missing."""

    def __str__(self) -> str:
        return f"{self.what}: {_short(self.before)} → {_short(self.after)}"


@dataclass(frozen=True, slots=True)
class Cause:
    """A pair of ancestors that differ in themselves, not only by their inputs."""

    left: str
    """Id of the left one."""
    right: str
    """Id of the right one."""
    title: str
    """Name of the pair for people."""
    path: tuple[str, ...]
    """The roles by which it is reached."""
    changes: tuple[Change, ...]
    """The values that differ."""


def find_causes(graph: Graph, left: str, right: str) -> list[Cause]:
    """Return what makes one artifact differ from another, the earliest first.

    Inputs with equal content count as equal, however they were made.

    Returns:
        The pairs of ancestors with a difference of their own; empty when there is none.
    """
    depth = layers(graph)
    walk = _Walk(graph)
    walk.compare(left, right, ())
    return sorted(walk.causes, key=lambda cause: (depth.get(cause.left, 0), len(cause.path)))


def matching_outputs(graph: Graph, left: str, right: str) -> list[tuple[str, str]]:
    """Pair the outputs of two runs by what people call them, those made last first."""
    ours, theirs = _by_title(graph, left), _by_title(graph, right)
    return [(ours[title], theirs[title]) for title in reversed(ours) if title in theirs]


def environment_changes(left: Node, right: Node) -> list[Change]:
    """Return the differences of code and libraries between two outputs; no key depends on them."""
    before = left.manifest.provenance if left.manifest else {}
    after = right.manifest.provenance if right.manifest else {}
    ours, theirs = before.get("libraries", {}), after.get("libraries", {})
    changes = [
        Change(f"library {name}", ours.get(name, _ABSENT), theirs.get(name, _ABSENT))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    for name in ("git_commit", "code"):
        what = name.replace("_", " ")
        changes += value_changes(before.get(name, ""), after.get(name, ""), what)
    return changes


class _Walk:
    """Compares pairs of ancestors, each pair once, with a list of what is left to do.

    Chains of recurring runs grow longer than Python's own stack is deep.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.causes: list[Cause] = []

    def compare(self, left: str, right: str, path: tuple[str, ...]) -> None:
        """Compare two outputs and all that they come from."""
        seen = set()
        queue = [(left, right, path)]
        while queue:
            ours, theirs, way = queue.pop(0)
            if ours == theirs or (ours, theirs) in seen:
                continue
            seen.add((ours, theirs))
            queue += self._compare_pair(ours, theirs, way)

    def _compare_pair(
        self, left: str, right: str, path: tuple[str, ...]
    ) -> list[tuple[str, str, tuple[str, ...]]]:
        """Note what one pair differs by itself, and return the pairs of inputs that differ."""
        before, after = self.graph.nodes[left], self.graph.nodes[right]
        if before.manifest is None or after.manifest is None or before.stage != after.stage:
            self._note(before, after, path, [_other_origin(before, after)])
            return []
        ours, theirs = before.manifest, after.manifest
        changes = [
            *value_changes(ours.version, theirs.version, "version"),
            *value_changes(ours.config, theirs.config, "config"),
            *value_changes(ours.arguments, theirs.arguments, ""),
            *value_changes(ours.seed, theirs.seed, "seed"),
        ]
        deeper = []
        mine = {edge.role: edge for edge in self.graph.inputs(left)}
        other = {edge.role: edge for edge in self.graph.inputs(right)}
        for role in dict.fromkeys([*mine, *other]):
            one, two = mine.get(role), other.get(role)
            if one is None or two is None:
                described = [self._describe(edge) for edge in (one, two)]
                changes.append(Change(f"input {role}", *described))
            elif ours.inputs[role].digest == theirs.inputs[role].digest:
                continue
            elif one.source == two.source:
                changes += self._unequal_twins(role, one, left, right)
            else:
                deeper.append((one.source, two.source, (*path, role)))
        self._note(before, after, path, changes)
        return deeper

    def _unequal_twins(self, role: str, edge: Edge, left: str, right: str) -> list[Change]:
        """Describe one key that came out in two ways, or other parts of one output."""
        ours, theirs = self.graph.nodes[left].manifest, self.graph.nodes[right].manifest
        assert ours and theirs
        one, two = ours.inputs[role], theirs.inputs[role]
        if one.part != two.part:
            return [Change(f"part of input {role}", one.part or "all", two.part or "all")]
        title = self.graph.nodes[edge.source].title
        what = f"input {role}: {title} was made twice under one key with other content"
        hints = environment_changes(self.graph.nodes[left], self.graph.nodes[right])
        return [Change(what, one.digest, two.digest), *hints]

    def _describe(self, edge: Edge | None) -> str:
        if edge is None:
            return _ABSENT
        title = self.graph.nodes[edge.source].title
        return f"{title} ({edge.part})" if edge.part else title

    def _note(self, left: Node, right: Node, path: tuple[str, ...], changes: list[Change]) -> None:
        if changes:
            self.causes.append(Cause(left.id, right.id, left.title, path, tuple(changes)))


def _other_origin(before: Node, after: Node) -> Change:
    """Describe a pair of which one is a file, is gone, or comes from another stage."""
    if before.kind == after.kind == "external":
        return Change(f"file {before.title}", before.digest, after.digest)
    if before.stage == after.stage:
        keys = [f"{one.key[:12]}{'' if one.manifest else ' (gone)'}" for one in (before, after)]
        return Change(f"key of {before.stage}", *keys)
    return Change("made by", before.title, after.title)


def _by_title(graph: Graph, run: str) -> dict[str, str]:
    """Return the ids of what a run made or used by what people call it."""
    return {graph.nodes[name].title: name for name in graph.members(run)}


def value_changes(before: Any, after: Any, where: str) -> Iterator[Change]:
    """Yield the values that differ between two trees of plain values, named as parts of `where`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{where}.{key}" if where else str(key)
            yield from value_changes(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif before != after:
        yield Change(where, before, after)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
