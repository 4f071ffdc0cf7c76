"""Reads the lineage graph: whole, or only what a stage or a run comes from."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings.errors import SparringError
from tasks.stages.lineage.graph import Graph, ManifestReader
from tasks.stages.lineage.nodes import Node, Place, output_node, run_node
from tasks.stages.manifest import Manifest, manifest_path
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import Run, list_runs, load_run
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import read_json
from tasks.storage.home import Home
from tasks.storage.sealed import read_sealed

if TYPE_CHECKING:
    from tasks.tracking.remote.base import Remote

MOST_NODES = 400
"""Of a page that is written after every stage: the nearest are shown."""


def lineage_graph(home: Home, remote: Remote | None = None) -> Graph:
    """Read all artifacts, users' files and flow runs known here and, if given, on the remote."""
    graph, files, pushed = Graph(), _file_names(home), _pushed(home)
    theirs = remote.names("manifests/") if remote is not None else []
    pushed |= {Path(name).stem for name in theirs}
    for path in sorted(home.manifests.glob("*/*.json")):
        if manifest := read_manifest(home, path.parent.name, path.stem):
            graph.add_output(output_node(manifest, _place(home, manifest, pushed)), files)
    if remote is not None:
        read = remote_reader(home, remote)
        for name in theirs:
            stage, _, key = name.removeprefix("manifests/").removesuffix(".json").partition("/")
            if f"{stage}/{key}" not in graph.into and (manifest := read(stage, key)):
                graph.add_output(output_node(manifest, "remote"), files)
    for run in list_runs(home) if home.runs.is_dir() else []:
        _add_run(graph, home, run)
    return graph


def ancestry(
    home: Home,
    outputs: Iterable[tuple[str, str]],
    *,
    elsewhere: ManifestReader | None = None,
    most: int = MOST_NODES,
) -> Graph:
    """Read only some outputs and what they come from, the nearest first.

    Args:
        home: The home whose manifests are read.
        outputs: Stage and key of each output.
        elsewhere: Asked for the manifests that are not here.
        most: How many outputs are read at the most, besides those asked for; the graph says
            which of them are not shown with their inputs.

    Returns:
        The graph, without runs.
    """
    graph, files, pushed = Graph(), _file_names(home), _pushed(home)
    queue = deque(dict.fromkeys(outputs))
    seen, asked = set(queue), len(queue)
    while queue:
        stage, key = queue.popleft()
        if len(graph.into) >= most + asked:
            graph.cut.add(f"{stage}/{key}")
            continue
        manifest = read_manifest(home, stage, key)
        if manifest is not None:
            place = _place(home, manifest, pushed)
            # Where there is a remote, a manifest without files is one that was read from it.
            away = elsewhere is not None and place == "removed"
            node = output_node(manifest, "remote" if away else place)
        elif elsewhere is not None and (manifest := elsewhere(stage, key)):
            node = output_node(manifest, "remote")
        else:
            continue
        graph.add_output(node, files)
        for record in manifest.inputs.values():
            source = (record.stage, record.key)
            if record.key and source not in seen:
                seen.add(source)
                queue.append(source)
    return graph


def run_graph(home: Home, run_id: str, *, elsewhere: ManifestReader | None = None) -> Graph:
    """Read a flow run, all it made or used, and what that comes from.

    Raises:
        ConfigError: When there is no such run.
    """
    run = load_run(home, run_id)
    called = dict.fromkeys(
        (event["stage"], event["key"])
        for event in stage_events(home, run.id)
        if event["event"] == "finished" and event["state"] in ("completed", "cached")
    )
    graph = ancestry(home, called, elsewhere=elsewhere)
    _add_run(graph, home, run)
    return graph


def read_manifest(home: Home, stage: str, key: str) -> Manifest | None:
    """Return a manifest that is here and whole; read once per process as long as it stays so."""
    path = manifest_path(home, stage, key)
    try:
        status = path.stat()
        return _read(str(path), status.st_mtime_ns, status.st_size)
    except (OSError, CorruptError):
        return None


def remote_reader(home: Home, remote: Remote, seconds: float = math.inf) -> ManifestReader:
    """Return a reader of the manifests that lie on a remote, which keeps here what it finds.

    Args:
        home: The home that gets the manifests, not the files they describe.
        remote: The remote that is asked.
        seconds: Seconds for all questions; after that, or after a failure, no more are asked.
    """
    from tasks.stages.remote.transfer import fetch_manifest

    until = time.monotonic() + seconds
    has_failed = False

    def read(stage: str, key: str) -> Manifest | None:
        nonlocal has_failed
        if has_failed or time.monotonic() > until:
            return None
        try:
            return fetch_manifest(home, remote, stage, key)
        except (StorageError, SparringError):
            has_failed = True
            return None

    return read


@lru_cache(maxsize=4096)
def _read(path: str, changed: int, size: int) -> Manifest:
    """Read a manifest; the arguments besides the path make a changed file another one."""
    try:
        return Manifest.from_json(read_json(Path(path)))
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptError(f"{path} is damaged: {error}") from error


def _add_run(graph: Graph, home: Home, run: Run) -> None:
    """Add a run, and an edge to every output that it made or used."""
    node = run_node(run)
    graph.add(node)
    for event in stage_events(home, run.id):
        if event["event"] != "finished" or event["state"] not in ("completed", "cached"):
            continue
        target = f"{event['stage']}/{event['key']}"
        title = f"{event['stage']} · {event['label']}" if event["label"] else event["stage"]
        graph.add(Node(target, "artifact", title, event["digest"], "gone"))
        graph.add_call(node.id, target, "made" if event["state"] == "completed" else "used")


def _place(home: Home, manifest: Manifest, pushed: frozenset[str]) -> Place:
    """Say where an output is; whether its files are undamaged is not asked here."""
    folder = manifest.folder(home)
    if folder.is_dir() and all((folder / file.path).exists() for file in manifest.files):
        return "here"
    return "remote" if manifest.key in pushed else "removed"


def _pushed(home: Home) -> frozenset[str]:
    """Return the keys of what was pushed to any remote."""
    return frozenset(path.name for path in home.root.glob("pushed/*/*"))


def _file_names(home: Home) -> dict[str, str]:
    """Return the names of users' files that were digested here, by digest."""
    try:
        table = read_sealed(home.root / "digests.json").get("files")
    except (OSError, CorruptError):
        return {}
    known = table.items() if isinstance(table, dict) else ()
    return {row[4]: Path(path).name for path, row in known if isinstance(row, list) and row[4:]}
