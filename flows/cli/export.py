"""What `sparring export` does and prints: a model or data leave for other tools."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.cli.lineage import find_node, known_graph
from flows.runs.console import print_json
from tasks.stages.export.publishing import export_output
from tasks.storage.home import current_home


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
