"""What `export-champion` and `import-champion` do: a champion moves to another store."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.registry import find_flow
from flows.runs.console import print_json
from tasks.stages.retention.champion_archive import export_champion, import_champion
from tasks.stages.runs.aliases import AliasRecord
from tasks.storage.home import current_home


def write_champion(flow: str, folder: Path, console: Console, *, as_json: bool) -> None:
    """Copy the champion of a flow into a new folder, and say what it is; JSON is its record.

    Raises:
        ConfigError: There is no champion, or the folder is not empty.
    """
    find_flow(flow)
    record = export_champion(current_home(), flow, folder)
    _show(record, f"the champion of {flow} is in {folder}", console, as_json=as_json)


def take_champion(folder: Path, console: Console, *, as_json: bool) -> None:
    """Make an exported champion the champion of its flow here, and say so; as `write_champion`.

    Raises:
        ConfigError: The folder holds no champion that this version can read.
        CorruptError: It is damaged.
    """
    record = import_champion(current_home(), folder)
    _show(record, f"the champion of {record.flow} is that of {folder}", console, as_json=as_json)


def _show(record: AliasRecord, text: str, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    models = [f"  {role}: {reference}" for role, reference in record.models.items()]
    for line in (f"{text} (run {record.run})", *models):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
