"""Paths for people beside the keys: `runs/RUN/STAGE/LABEL`, `aliases/FLOW/champion/policy`.

They are links into the store. The folder is a DVC repository without git, so that `dvc get
HOME/named PATH` and a file manager find an artifact by name; it holds no bytes of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tasks.storage.durable import make_folder
from tasks.storage.files import publish_link, write_atomic

_SETTINGS = "[core]\n    no_scm = True\n    analytics = False\n    check_update = False\n"
_log = logging.getLogger("sparring.stages")


def link_names(named: Path, folder: str, targets: Mapping[str, Path]) -> None:
    """Make the links of one folder anew; those of other names in it go.

    A disk that cannot hold links costs the names, never the run.

    Args:
        named: The folder of all readable paths.
        folder: The folder in it whose links are made.
        targets: What each path in that folder leads to; it need not be there yet.
    """
    place, settings = named / folder, named / ".dvc" / "config"
    wanted = {PurePosixPath(path): target for path, target in targets.items()}
    try:
        if not settings.exists():
            make_folder(settings.parent)
            write_atomic(settings, _SETTINGS)
        for link in [path for path in place.rglob("*") if path.is_symlink()]:
            if PurePosixPath(link.relative_to(place)) not in wanted:
                link.unlink(missing_ok=True)
        for path, target in wanted.items():
            link = place / path
            make_folder(link.parent)
            publish_link(link, os.path.relpath(target, link.parent))
    except OSError as error:
        _log.warning("no readable paths in %s: %s", place, error)
