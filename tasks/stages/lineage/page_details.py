"""What a lineage page tells about each node: digests, figures, settings, where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from tasks.stages.lineage.graph import Edge, Graph, Node

Link = Callable[[Node], str | None]
"""Returns the address of a node's page in MLflow, or None where there is none."""

_MOST_FIGURES, _MOST_SETTINGS = 60, 120
_PLACES = {
    "here": "",
    "remote": "its files lie on the remote",
    "removed": "its files were removed",
    "gone": "removed; only those who used it still know it",
}


class Subject:
    """What a page shows; nodes are numbered, for names may hold anything.

    Args:
        graph: What to show, all of it.
        focus: Id of the node that the page is about.
        link: Where a node's page in MLflow is.
    """

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

    def inward(self, name: str) -> str:
        """Return the attributes of a link to a node's details on the page."""
        return f'href="#d{self.ids[name]}" data-d="{self.ids[name]}"'

    def details(self) -> str:
        """Describe every node and every run; only the one that was clicked is seen."""
        described = [self._detail(node) for node in self.drawn]
        return "\n".join([*described, *(self._run_detail(node) for node in self.runs.values())])

    def _detail(self, node: Node) -> str:
        made = node.manifest
        lines = [f"<h2>{escape(node.title)}</h2>"]
        if href := self.link(node):
            lines.append(f"<p><a {outward(href)}>its page in MLflow ↗</a></p>")
        if note := _PLACES.get(node.place):
            lines.append(f'<p class="dim">{note}</p>')
        if node.id in self.graph.cut:
            lines.append('<p class="dim">what it comes from is left out here</p>')
        name = "key" if node.kind == "artifact" else "file"
        facts: list[tuple[str, Any]] = [(name, node.key), ("digest", node.digest)]
        if made:
            past = made.provenance
            facts += [("seed", made.seed), ("version", made.version), ("bytes", f"{made.size:,}")]
            facts += [("created", past.get("created", "")), ("seconds", past.get("seconds", ""))]
            facts += [("git commit", past.get("git_commit", ""))]
        lines.append(_facts(facts))
        lines += [self._runs(node), self._links("comes from", self.graph.inputs(node.id), "source")]
        lines.append(self._links("was used for", self.graph.outputs(node.id), "target"))
        if made:
            lines += [_figures(made.metrics), _settings({**made.arguments, "config": made.config})]
        focus = " focus" if node.id == self.focus else ""
        return (
            f'<section class="detail{focus}" id="d{self.ids[node.id]}">{"".join(lines)}</section>'
        )

    def _run_detail(self, node: Node) -> str:
        lines = [f"<h2>run {escape(node.title)}</h2>"]
        if href := self.link(node):
            lines.append(f"<p><a {outward(href)}>its page in MLflow ↗</a></p>")
        if run := node.run:
            facts = (("flow", run.flow), ("status", run.status), ("started", run.started))
            lines.append(_facts([*facts, ("updated", run.updated)]))
        edges = self.graph.calls.get(node.id) or [
            Edge(node.id, one.id, "made") for one in self.drawn if one.made_by == node.key
        ]
        for role in ("made", "used"):
            some = [edge for edge in edges if edge.role == role and edge.target in self.ids]
            lines.append(self._links(f"{role} {len(some)}", some, "target"))
        focus = " focus" if node.id == self.focus else ""
        return (
            f'<section class="detail{focus}" id="d{self.ids[node.id]}">{"".join(lines)}</section>'
        )

    def _runs(self, node: Node) -> str:
        """Name the runs that made or used an output."""
        roles = {edge.source: edge.role for edge in self.graph.callers.get(node.id, [])}
        if node.made_by:
            roles[f"run/{node.made_by}"] = "made"
        named = [
            f"{role} by run <a {self.inward(name)}>{escape(name.partition('/')[2])}</a>"
            for name, role in roles.items()
        ]
        return f"<p>{'<br>'.join(named)}</p>" if named else ""

    def _links(self, title: str, edges: list[Edge], end: str) -> str:
        """List the nodes at one end of edges."""
        rows = []
        for edge in edges:
            name = getattr(edge, end)
            if name in self.ids:
                link = f"<a {self.inward(name)}>{escape(self.name_of(name))}</a>"
                role = "" if edge.role in ("made", "used") else escape(role_text(edge))
                rows.append(f'<tr><td>{link}</td><td class="dim">{role}</td></tr>')
        return f"<h3>{title}</h3><table>{''.join(rows)}</table>" if rows else ""


def outward(address: str) -> str:
    """Return the attributes of a link to another page."""
    return f'href="{escape(address)}" target="_blank" rel="noopener"'


def role_text(edge: Edge) -> str:
    """Return an input's role, with the part that was read."""
    return f"{edge.role} ({edge.part})" if edge.part else edge.role


def _facts(facts: list[tuple[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="dim">{escape(name)}</td><td><code>{escape(str(value))}</code></td></tr>'
        for name, value in facts
        if value not in ("", None)
    )
    return f"<table>{rows}</table>"


def _figures(metrics: dict[str, float]) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{value:.6g}</td></tr>'
        for name, value in list(metrics.items())[:_MOST_FIGURES]
    )
    more = len(metrics) - _MOST_FIGURES
    rest = f'<p class="dim">and {more} more in its manifest</p>' if more > 0 else ""
    return f"<h3>figures</h3><table>{rows}</table>{rest}" if metrics else ""


def _settings(values: Any) -> str:
    """List a configuration, one value per line."""
    lines = list(_flat(values, ""))
    if not lines:
        return ""
    text = escape("\n".join(lines[:_MOST_SETTINGS]))
    more = "\n…" if len(lines) > _MOST_SETTINGS else ""
    return (
        f"<details><summary>configuration, {len(lines)} values</summary>"
        f"<pre>{text}{more}</pre></details>"
    )


def _flat(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{where}.{name}" if where else str(name))
    elif value is not None:
        yield f"{where} = {value}"
