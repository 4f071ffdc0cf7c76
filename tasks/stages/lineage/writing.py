"""Writes the lineage of a stage or a run as files: a page for people, JSON for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings.errors import ConfigError
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.page import lineage_page, symbolic_link
from tasks.stages.lineage.page_details import Link
from tasks.stages.lineage.reading import ancestry, remote_reader, run_graph
from tasks.stages.runs.context import RunContext, noting_failure
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.plain import json_text

if TYPE_CHECKING:
    from tasks.tracking.remote.base import Remote

PAGE, DATA = "lineage.html", "lineage.json"
_LONGEST_SECONDS = 2.0
"""What a stage waits for manifests of its ancestors that lie on the remote alone."""


def write_lineage(
    home: Home, key_or_run: str, folder: Path, *, remote: Remote | None = None
) -> Path:
    """Write what a stage's output comes from, or all that a flow run made and used.

    Args:
        home: The home whose manifests and runs are read.
        key_or_run: A whole key, or a run's id.
        folder: Receives `lineage.html`, whose links are `sparring:stage/KEY` and
            `sparring:run/RUN`, and `lineage.json`.
        remote: The remote, asked for a short time for the manifests that are not here.

    Returns:
        The page.

    Raises:
        ConfigError: When there is no such stage or run.
        DiskError: When the disk refuses.
    """
    elsewhere = remote_reader(home, remote, _LONGEST_SECONDS) if remote else None
    stages = [path.parent.name for path in home.manifests.glob(f"*/{key_or_run}.json")]
    if stages:
        graph = ancestry(home, [(stages[0], key_or_run)], elsewhere=elsewhere)
        return save_graph(graph, f"{stages[0]}/{key_or_run}", folder)
    if not (home.runs / key_or_run / "run.json").is_file():
        raise ConfigError(f"there is no stage or run {key_or_run!r} in {home.root}")
    graph = run_graph(home, key_or_run, elsewhere=elsewhere)
    return save_graph(graph, f"run/{key_or_run}", folder)


def record_lineage(run: RunContext, title: str, key: str | None = None) -> None:
    """Let MLflow have the lineage of a stage's output by its key; by default, of a whole run."""
    if run.spool is None:
        return
    folder = run.spool.folder / "pages"
    with noting_failure(run, title, "its lineage is not recorded"):
        if key is None:
            page = write_lineage(run.home, run.run_id, folder)
        else:
            page = write_lineage(run.home, key, folder / key[:16], remote=run.remote)
        run.spool.files(key, [page], links=True)
        run.spool.files(key, [page.with_suffix(".json")])


def save_graph(graph: Graph, focus: str, folder: Path, link: Link = symbolic_link) -> Path:
    """Write a graph as `lineage.html` and `lineage.json`, and return the page."""
    write_atomic(folder / DATA, json_text({"focus": focus, **graph.to_json()}) + "\n")
    write_atomic(folder / PAGE, lineage_page(graph, focus, link=link))
    return folder / PAGE
