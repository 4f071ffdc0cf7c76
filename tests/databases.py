"""The databases of Prefect and MLflow as the second command of a project finds them.

To make them takes ten seconds of a core, most of it Prefect's hundred migrations, and the tests
begin in dozens of new folders. So they are made once and copied. What a first command makes of an
empty folder is shown by those tests that begin in one, the run that `untouched` looks at first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

_MLFLOW = (
    "from pathlib import Path; from tasks.tracking.mlflow_record.connection import connect, "
    "tracking_place; connect(tracking_place(Path()))"
)
_MAKERS = {
    "prefect": ("-m", "prefect", "server", "database", "upgrade", "-y"),
    "mlflow": ("-c", _MLFLOW),
}


@dataclass(frozen=True)
class Databases:
    """Where empty databases are kept for the tests of a session."""

    folder: Path
    """The processes that tests are spread over have it in common."""

    def copy(self, name: str, to: Path) -> None:
        """Copy `prefect` or `mlflow`, which is made when it is first asked for, into a folder."""
        kept = self.folder / name
        kept.mkdir(parents=True, exist_ok=True)
        database = kept / f"{name}.db"
        with FileLock(self.folder / f"{name}.lock"):
            if not database.exists():
                making = self.folder / f"{name}.making"
                making.mkdir()
                environment = {**os.environ, "PREFECT_HOME": str(making)}
                words = [sys.executable, *_MAKERS[name]]
                subprocess.run(words, cwd=making, env=environment, check=True, capture_output=True)
                (making / database.name).rename(database)
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(database, to)
