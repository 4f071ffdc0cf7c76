"""The lineage graph as one page that needs nothing else: a drawing whose nodes can be clicked.

Names and metrics in it come from users, files and models: the template escapes all of them, and the
page's own policy lets no script run but the one it was written with.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.evaluation.report.pages import page_template
from tasks.stages.lineage import page_layout
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node
from tasks.stages.lineage.page_details import PLACES, Link, Subject, role_text, settings
from tasks.stages.lineage.page_layout import Layout, Spot
from tasks.tracking.mlflow_record.links import SCRIPT as MLFLOW_SCRIPT

if TYPE_CHECKING:
    from jinja2 import Template

_HUB = 8
"""Edges of what was used more often than this are drawn faintly."""
_MOST_METRICS, _MOST_SETTINGS = 60, 120


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge of the graph as it is drawn."""

    classes: str
    """CSS classes, each with a space before it."""
    source: str
    """Number of the node that it leaves."""
    target: str
    """Number of the node that it leads to."""
    path: str
    """The curve, in SVG's words."""
    roles: str
    """The roles of the source in the target's inputs."""


def symbolic_link(node: Node) -> str | None:
    """Return the address that the recorder replaces when it uploads the page."""
    if node.kind == "external":
        return None
    return f"sparring:run/{node.key}" if node.kind == "run" else f"sparring:stage/{node.key}"


def lineage_page(graph: Graph, focus: str, *, link: Link = symbolic_link) -> str:
    """Draw a graph as one HTML page that needs nothing else; it is about the node `focus`."""
    from markupsafe import Markup

    subject, layout = Subject(graph, focus, link), page_layout.lay_out(graph)
    script = _beside("page.js")
    files = sum(node.kind == "external" for node in subject.drawn)
    return _template().render(
        title=f"Lineage of {subject.name_of(focus)}",
        policy=_policy(script),
        style=Markup(_beside("page.css")),
        script=Markup(script),
        graph=graph,
        subject=subject,
        layout=layout,
        arrows=_arrows(subject, layout),
        files=files,
        stages=len(subject.drawn) - files,
        linked=any(map(link, graph.nodes.values())),
    )


@cache
def _template() -> Template:
    page = page_template(Path(__file__).with_name("page.html.j2"))
    page.globals.update(
        lanes=page_layout.LANES,
        places=PLACES,
        node_width=page_layout.NODE_WIDTH,
        node_height=page_layout.NODE_HEIGHT,
        most_metrics=_MOST_METRICS,
        most_settings=_MOST_SETTINGS,
        captions=_captions,
        hint=_hint,
        settings=settings,
    )
    return page


@cache
def _beside(name: str) -> str:
    """Return the text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _policy(script: str) -> str:
    """Return what the page may do: load nothing, run its own script and the recorder's alone."""
    recorders = MLFLOW_SCRIPT.partition("<script>")[2].partition("</script>")[0]
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (script, recorders)
    )
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"


def _arrows(subject: Subject, layout: Layout) -> Iterator[Arrow]:
    graph = subject.graph
    for target in graph.into:
        roles: dict[str, list[str]] = {}
        for edge in graph.inputs(target):
            roles.setdefault(edge.source, []).append(role_text(edge))
        for source, names in roles.items():
            start, end = layout.spots[source], layout.spots[target]
            lane = " e5" if page_layout.EVALUATION in (start.lane, end.lane) else ""
            wide = " wide" if len(graph.outputs(source)) > _HUB else ""
            yield Arrow(
                classes=lane + wide,
                source=subject.ids[source],
                target=subject.ids[target],
                path=_curve(start, end),
                roles=", ".join(names),
            )


def _curve(start: Spot, end: Spot) -> str:
    """Return a path from the lower edge of one node to the upper edge of another."""
    x1, y1 = start.x + page_layout.NODE_WIDTH / 2, start.y + page_layout.NODE_HEIGHT
    x2, y2 = end.x + page_layout.NODE_WIDTH / 2, end.y
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
    metrics = list(node.manifest.metrics.items())[:6] if node.manifest else []
    return "\n".join([*lines, *(f"{name} {value:.4g}" for name, value in metrics)])
