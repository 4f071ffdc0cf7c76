"""What `sparring lineage` prints: a tree for people, JSON for programs, a page for a browser."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from flows.runs.console import open_console, print_json
from flows.runs.tables import minute
from tasks.settings.printable import printable
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Edge, Node
from tasks.stages.lineage.page import lineage_page
from tasks.stages.lineage.page_details import Link, role_text
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.runs.naming import Thing, find_thing
from tasks.storage.errors import StorageError
from tasks.storage.files import write_atomic
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote


def known_graph(console: Console) -> Graph:
    """Read the lineage of all that is known here and on the remote, if one is named.

    A remote that does not answer is said, and left out.
    """
    home, remote = current_home(), open_remote()
    home.check_layout()
    if remote is not None:
        try:
            return lineage_graph(home, remote)
        except StorageError as error:
            open_console(stderr=True).print(f"the remote is left out: {error}", style="yellow")
    return lineage_graph(home)


def find_node(graph: Graph, name: str) -> Node:
    """Return what a user means, named as for `find_thing`: an artifact, a file or a run.

    Raises:
        ConfigError: When it is nothing, or several things.
    """
    things = (Thing(node.id, node.digest, node.title) for node in graph.nodes.values())
    return graph.nodes[find_thing(current_home(), name, things).id]


def show_lineage(
    name: str,
    console: Console,
    *,
    up: bool,
    down: bool,
    html: Path | None,
    depth: int,
    as_json: bool,
) -> None:
    """Print a thing's ancestors, its descendants, or both, and write them as a page to `html`.

    The terminal shows `depth` steps; 0 is all.

    Raises:
        ConfigError: There is no such thing.
    """
    graph = known_graph(console)
    focus = find_node(graph, name)
    part = _part(graph, focus, up=up, down=down)
    if html is not None:
        page = lineage_page(part, focus.id, link=_mlflow_link(current_home()))
        write_atomic(html.absolute(), page)
    if as_json:
        print_json({"focus": focus.id, **part.to_json()})
        return
    if html is not None:
        console.print(f"{len(part.nodes)} nodes in {html.absolute()}", soft_wrap=True)
        return
    if focus.run:
        console.print(_line(focus), soft_wrap=True)
    for upwards in (True, False):
        if upwards and up:
            roots = part.ends(part.members(focus.id)) if focus.run else [focus.id]
        elif not upwards and down:
            roots = _origins(part, part.members(focus.id)) if focus.run else [focus.id]
        else:
            continue
        for tree in _trees(part, roots, upwards=upwards, depth=depth):
            console.print(tree)


def _part(graph: Graph, focus: Node, *, up: bool, down: bool) -> Graph:
    """Return the part of the graph that was asked for, with the runs that called it."""
    start = graph.members(focus.id) if focus.run else [focus.id]
    names = dict.fromkeys([focus.id, *start])
    if up:
        names |= dict.fromkeys(graph.up(*start))
    if down:
        names |= dict.fromkeys(graph.down(*start))
    runs = {edge.source for name in names for edge in graph.callers.get(name, [])}
    return graph.around([*names, *runs])


def _origins(graph: Graph, names: list[str]) -> list[str]:
    """Return those of the nodes that come from no other of them."""
    inside = set(names)
    return [n for n in names if not any(edge.source in inside for edge in graph.inputs(n))]


def _trees(graph: Graph, roots: list[str], *, upwards: bool, depth: int) -> list[Tree]:
    """Draw trees in which every node is opened once, where it is nearest to a root."""
    trees = {name: Tree(_line(graph.nodes[name]), guide_style="bright_black") for name in roots}
    branches, level = dict(trees), list(trees)
    steps = 0
    while level:
        steps += 1
        following: list[str] = []
        for name in level:
            ends = _by_end(graph, name, upwards)
            if depth and steps > depth:
                branches[name].add(Text(f"… {len(ends)} more", "bright_black")) if ends else None
                continue
            for other, edges in ends.items():
                is_new = other not in branches
                roles = ", ".join(role_text(edge) for edge in edges)
                branch = branches[name].add(_line(graph.nodes[other], roles, again=not is_new))
                if is_new:
                    branches[other] = branch
                    following.append(other)
        level = following
    return list(trees.values())


def _by_end(graph: Graph, name: str, upwards: bool) -> dict[str, list[Edge]]:
    """Return the edges of a node by the node at their other end."""
    ends: dict[str, list[Edge]] = {}
    for edge in graph.inputs(name) if upwards else graph.out_of.get(name, []):
        ends.setdefault(edge.source if upwards else edge.target, []).append(edge)
    return ends


def _line(node: Node, roles: str = "", *, again: bool = False) -> Text:
    """Describe a node in one line."""
    line = Text(f"{printable(roles)}: " if roles else "", "bright_black")
    line.append(printable(node.title), "bright_black" if again else "bold")
    if node.run:
        began = minute(node.run.started)
        line.append(f"  {node.run.flow}, {node.run.status}, {began} UTC", "bright_black")
        return line
    line.append(f"  {node.key[:12]}", "cyan")
    if node.place not in ("here", ""):
        line.append(f"  {node.place}", "yellow")
    if again:
        line.append("  (shown elsewhere)", "bright_black")
    elif node.digest and node.kind == "artifact":
        line.append(f"  {node.digest[:12]}", "bright_black")
    return line


def _mlflow_link(home: Home) -> Link:
    """Return where things are in MLflow, as far as its address is known and it was told of them."""
    from tasks.tracking.mlflow_record.connection import server_on_record
    from tasks.tracking.mlflow_record.links import logged_pages

    place = urlsplit(server_on_record(home.root) or os.environ.get("MLFLOW_TRACKING_URI", ""))
    if place.scheme not in ("http", "https"):
        return lambda node: None
    host = place.netloc.rpartition("@")[2]  # a password does not go into a page
    pages = logged_pages(home.spool)

    def link(node: Node) -> str | None:
        found = pages.get(("run" if node.kind == "run" else "stage", node.key))
        return f"{place.scheme}://{host}{place.path.rstrip('/')}/{found}" if found else None

    return link
