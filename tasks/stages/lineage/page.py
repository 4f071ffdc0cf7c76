"""The lineage graph as one page that needs nothing else: a drawing whose nodes can be clicked.

Names and figures in it come from users, files and models: everything is escaped, and the page's
own policy lets no script run but the one it was written with.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tasks.stages.lineage.graph import Graph, Node
from tasks.stages.lineage.page_details import Link, Subject, outward, role_text
from tasks.stages.lineage.page_layout import (
    EVALUATION,
    LANES,
    NODE_HEIGHT,
    NODE_WIDTH,
    Layout,
    Spot,
    lay_out,
)
from tasks.stages.lineage.page_style import CSS, POLICY, SCRIPT

_HUB = 8
"""Edges of what was used more often than this are drawn faintly."""


def symbolic_link(node: Node) -> str | None:
    """Return the address that the recorder replaces when it uploads the page."""
    if node.kind == "external":
        return None
    return f"sparring:run/{node.key}" if node.kind == "run" else f"sparring:stage/{node.key}"


def lineage_page(graph: Graph, focus: str, *, link: Link = symbolic_link) -> str:
    """Draw a graph.

    Args:
        graph: What to show, all of it.
        focus: Id of the node that the page is about.
        link: Where a node's page in MLflow is.

    Returns:
        One HTML page without any external resource.
    """
    subject = Subject(graph, focus, link)
    drawing = _Drawing(subject)
    title = escape(f"Lineage of {subject.name_of(focus)}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head><body>\n"
        f"<header><h1>{title}</h1>{drawing.header()}</header>\n"
        f'<main><div class="graph">{drawing.svg()}</div>\n'
        f"<aside>{subject.details()}</aside></main>\n"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


class _Drawing:
    """Writes the header and the drawing of one page."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.graph = subject, subject.graph

    def header(self) -> str:
        """Say what is shown, and name the flow runs."""
        files = sum(node.kind == "external" for node in self.subject.drawn)
        counted = f"{len(self.subject.drawn) - files} stages, {files} input files"
        if self.graph.cut:
            counted += (
                f"; {len(self.graph.cut)} earlier stages and what they come from are left out"
            )
        chips = "".join(
            f'<a class="chip" {self.subject.inward(node.id)}>run {escape(node.title)}'
            f"{f' · {escape(node.run.status)}' if node.run else ''}</a>"
            for node in self.subject.runs.values()
        )
        links = any(map(self.subject.link, self.graph.nodes.values()))
        outside = (
            "; Ctrl-click (⌘-click) a box, or click ↗, for its page in MLflow" if links else ""
        )
        return (
            f'<p class="dim">{counted}. Time goes down. Click a box for what it is, what it comes '
            f"from and what was made of it{outside}. "
            '<label><input type="checkbox" id="hide">hide evaluation</label></p>'
            f'<p id="sparring-hint"></p><div class="chips">{chips}</div>'
        )

    def svg(self) -> str:
        """Draw the graph as SVG."""
        layout = lay_out(self.graph)
        width, height = round(layout.width), round(layout.height)
        parts = [
            f'<svg role="group" aria-label="lineage" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">',
            *self._bands(layout),
            *self._edges(layout),
            *(self._node(node, layout.spots[node.id]) for node in self.subject.drawn),
            "</svg>",
        ]
        return "\n".join(parts)

    def _bands(self, layout: Layout) -> Iterator[str]:
        for place, (lane, (left, width)) in enumerate(layout.lanes.items()):
            odd = " odd" if place % 2 else ""
            yield (
                f'<g class="band{lane}"><rect class="band{odd}" x="{left:.0f}" y="0" '
                f'width="{width:.0f}" height="{layout.height:.0f}"/>'
                f'<text class="lane" x="{left + 15:.0f}" y="20">{LANES[lane]}</text></g>'
            )

    def _edges(self, layout: Layout) -> Iterator[str]:
        for target in self.graph.into:
            roles: dict[str, list[str]] = {}
            for edge in self.graph.inputs(target):
                roles.setdefault(edge.source, []).append(role_text(edge))
            for source, names in roles.items():
                start, end = layout.spots[source], layout.spots[target]
                lane = " e5" if EVALUATION in (start.lane, end.lane) else ""
                wide = " wide" if len(self.graph.outputs(source)) > _HUB else ""
                yield (
                    f'<path class="edge{lane}{wide}" data-from="{self.subject.ids[source]}" '
                    f'data-to="{self.subject.ids[target]}" d="{_curve(start, end)}">'
                    f"<title>{escape(', '.join(names))}</title></path>"
                )

    def _node(self, node: Node, spot: Spot) -> str:
        number = self.subject.ids[node.id]
        states = [f"l{spot.lane}", node.place]
        states += ["focus"] if node.id == self.subject.focus else []
        run = self.subject.ids.get(f"run/{node.made_by}", "")
        small, large = _captions(node)
        href, x, y = self.subject.link(node), spot.x, spot.y
        outside = (
            f'<a {outward(href)}><text class="out" x="{x + NODE_WIDTH - 15:.0f}" '
            f'y="{y + 14:.0f}">↗<title>its page in MLflow</title></text></a>'
            if href
            else ""
        )
        inside = outward(href) if href else f'href="#d{number}"'
        return (
            f'<g class="node {" ".join(filter(None, states))}" id="g{number}" data-run="{run}">'
            f'<a {inside} data-d="{number}"><rect x="{x:.0f}" y="{y:.0f}" width="{NODE_WIDTH}" '
            f'height="{NODE_HEIGHT}" rx="4"/><rect class="bar" x="{x:.0f}" y="{y:.0f}" width="4" '
            f'height="{NODE_HEIGHT}" rx="2"/><text class="s" x="{x + 11:.0f}" y="{y + 14:.0f}">'
            f'{escape(small)}</text><text x="{x + 11:.0f}" y="{y + 28:.0f}">{escape(large)}</text>'
            f"<title>{escape(_hint(node))}</title></a>{outside}</g>"
        )


def _curve(start: Spot, end: Spot) -> str:
    """Return a path from the lower edge of one node to the upper edge of another."""
    x1, y1 = start.x + NODE_WIDTH / 2, start.y + NODE_HEIGHT
    x2, y2 = end.x + NODE_WIDTH / 2, end.y
    bend = max(18.0, min(60.0, abs(y2 - y1) / 2))
    return f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"


def _captions(node: Node) -> tuple[str, str]:
    """Return the small and the large line of a node, no longer than it is wide."""
    if node.kind == "external":
        return "file", _cut(node.title, 23)
    label = node.manifest.label if node.manifest else node.title.partition(" · ")[2]
    return _cut(node.stage, 28), _cut(label or node.key[:12], 23)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _hint(node: Node) -> str:
    """Return what a node shows while the mouse is over it."""
    lines = [node.title, f"key {node.key[:16]}", f"digest {node.digest}"]
    figures = list(node.manifest.metrics.items())[:6] if node.manifest else []
    return "\n".join([*lines, *(f"{name} {value:.4g}" for name, value in figures)])
