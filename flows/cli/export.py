"""What `sparring export` does and prints: a model or data leave for other tools."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.cli.lineage import find_node, known_graph
from flows.runs.console import print_json
from tasks.settings.errors import ConfigError
from tasks.stages.export.dvc_project import write_dvc_project
from tasks.stages.export.publishing import export_output
from tasks.stages.lineage.graph import Graph
from tasks.stages.runs.naming import find_alias
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_names import output_paths, path_name
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote


def write_export(
    name: str,
    folder: Path,
    console: Console,
    *,
    form: str | None,
    messages: bool,
    licence: str | None,
    as_json: bool,
) -> None:
    """Write an artifact as a folder that other tools read, and say what is in it.

    Raises:
        ConfigError: There is no such artifact, or it cannot be exported; the folder is not empty.
    """
    graph = known_graph(console)
    node = find_node(graph, name)
    done = export_output(
        current_home(), graph, node, folder, form=form, messages=messages, licence=licence
    )
    if as_json:
        print_json(done.to_json())
        return
    rows = done.contents.get("rows")
    said = f"{done.contents['files']} files" if rows is None else f"{sum(rows.values()):,} rows"
    for line in (
        f"{done.title} ({done.kind}) is in {done.folder}: {said}",
        *(f"  {part}: {count:,}" for part, count in (rows or {}).items()),
        f"README.md there says what it is and how to use it; licence: {licence or 'not stated'}",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def write_dvc_export(name: str, folder: Path, console: Console, *, as_json: bool) -> None:
    """Write `.dvc` files of a run, of an alias or of one output into a git repository.

    Raises:
        ConfigError: There is no such thing, DVC would not find it, or the folder is not ours.
    """
    home = current_home()
    graph = known_graph(console)
    named = _named_outputs(home, graph, name)
    found = {path: graph.nodes[one].manifest for path, one in named.items() if one in graph.nodes}
    outputs = {path: manifest for path, manifest in found.items() if manifest is not None}
    if not outputs:
        raise ConfigError(f"{name} has no output that is known here")
    is_new = write_dvc_project(home, open_remote(), outputs, folder)
    if as_json:
        print_json({"folder": str(folder), "paths": sorted(outputs), "committed": is_new})
        return
    done = "are committed" if is_new else "were there already"
    for line in (
        f"{len(outputs)} outputs {done} in {folder}",
        *(f"  {path}" for path in sorted(outputs)),
        "README.md there says how `dvc get` and `dvc import` take them",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _named_outputs(home: Home, graph: Graph, name: str) -> dict[str, str]:
    """Return the ids of the outputs that a name means, by readable path."""
    if alias := find_alias(home, name):
        record, role = alias
        place = f"aliases/{record.flow}/{record.alias}"
        models = {one: ref for one, ref in record.models.items() if role in ("", one)}
        return {f"{place}/{one}": reference for one, reference in models.items()}
    node = find_node(graph, name)
    if node.run is not None:
        made = output_paths(stage_events(home, node.run.id))
        return {f"runs/{node.run.id}/{path}": reference for path, reference in made.items()}
    if node.manifest is None:
        raise ConfigError(f"{node.title} is no output of a stage")
    label = path_name(node.manifest.label) or node.manifest.key[:12]
    return {f"{node.manifest.stage}/{label}": node.id}
