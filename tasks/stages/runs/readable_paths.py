"""Paths for people beside the keys: `runs/RUN/STAGE/LABEL`, `aliases/FLOW/champion/policy`.

They are links into the store. The folder is a DVC repository without git, so that `dvc get
HOME/named PATH` and a file manager find an artifact by name; it holds no bytes of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from tasks.settings.printable import printable
from tasks.stages.manifest import artifact_folder
from tasks.stages.runs.run_journal import stage_events
from tasks.storage.durable import make_folder
from tasks.storage.files import publish_link, write_atomic
from tasks.storage.home import Home

_UNLABELLED = "output"
_SETTINGS = "[core]\n    no_scm = True\n    analytics = False\n    check_update = False\n"
_log = logging.getLogger("sparring.stages")


def output_paths(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return `STAGE/KEY` by readable path, `STAGE/LABEL`, of what a run made or used.

    Args:
        events: The stage events of a run.

    Example:
        >>> output_paths([{"state": "cached", "stage": "prepare_data", "label": "", "key": "ab"}])
        {'prepare_data/output': 'prepare_data/ab'}
    """
    found: dict[str, str] = {}
    for event in events:
        if event["state"] not in ("completed", "cached"):
            continue
        reference = f"{event['stage']}/{event['key']}"
        name = printable(event["label"]).replace("/", "-").lstrip(".") or _UNLABELLED
        path = f"{event['stage']}/{name}"
        if found.get(path, reference) != reference:
            path = f"{path} {event['key'][:8]}"
        found[path] = reference
    return found


def name_outputs(home: Home, run_id: str) -> None:
    """Give what a run made and used readable paths."""
    events = stage_events(home, run_id)
    _link_all(home, f"runs/{run_id}", output_paths(events))


def name_models(home: Home, flow: str, alias: str, models: Mapping[str, str]) -> None:
    """Give the models of an alias readable paths, in place of those it had before.

    Args:
        home: The home that has, or may get, the models.
        flow: The flow whose models the alias names.
        alias: The alias: candidate or champion.
        models: `STAGE/KEY` by role.
    """
    _link_all(home, f"aliases/{flow}/{alias}", models)


def _link_all(home: Home, folder: str, references: Mapping[str, str]) -> None:
    """Make the links of one folder anew; those of other names in it go.

    A disk that cannot hold links costs the names, never the run.
    """
    place, settings = home.named / folder, home.named / ".dvc" / "config"
    wanted = {PurePosixPath(path): target for path, target in references.items()}
    try:
        if not settings.exists():
            make_folder(settings.parent)
            write_atomic(settings, _SETTINGS)
        for link in [path for path in place.rglob("*") if path.is_symlink()]:
            if PurePosixPath(link.relative_to(place)) not in wanted:
                link.unlink(missing_ok=True)
        for path, reference in wanted.items():
            link = place / path
            make_folder(link.parent)
            target = artifact_folder(home, *reference.split("/"))
            publish_link(link, os.path.relpath(target, link.parent))
    except OSError as error:
        _log.warning("no readable paths in %s: %s", place, error)
