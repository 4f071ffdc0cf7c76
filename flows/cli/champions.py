"""What `export-champion` and `import-champion` do: a champion moves to another store."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from flows.registry import find_flow
from tasks.stages.retention.champion_archive import export_champion, import_champion
from tasks.stages.runs.aliases import AliasRecord
from tasks.storage.home import current_home


def write_champion(flow: str, folder: Path, console: Console, *, as_json: bool) -> None:
    """Copy the champion of a flow into a folder, and say what it is.

    Args:
        flow: The flow's name.
        folder: The folder to make.
        console: Where to print.
        as_json: Print the alias's record as JSON instead.

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
        print(json.dumps(asdict(record), indent=2, ensure_ascii=False))
        return
    console.print(f"{text} (run {record.run})", highlight=False, soft_wrap=True, markup=False)
    for role, reference in record.models.items():
        console.print(f"  {role}: {reference}", highlight=False, soft_wrap=True, markup=False)
