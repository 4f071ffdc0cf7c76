"""What all trials of one use share: worlds, a Prefect server, empty databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.servers.shared_server import start_prefect_server, stop
from tasks.storage.home import Home
from tests.databases import Databases
from tests.torture.worlds import Worlds

FOLDER = Path(".torture")
"""Where the ledger and the worlds are kept, seen from the checkout."""


@contextmanager
def session(folder: Path) -> Iterator[Worlds]:
    """Lend worlds that are kept in a folder, beside a server of their own."""
    kept = folder.absolute()
    kept.mkdir(parents=True, exist_ok=True)
    # A server's state is not kept: its database grows by each trial.
    with TemporaryDirectory(prefix="torture-", dir=kept) as own:
        databases = Databases(Path(own) / "databases")
        home = Home(Path(own) / "server").ensure()
        databases.copy("prefect", home.prefect)
        before = dict(os.environ)
        handle = start_prefect_server(home)
        worlds = Worlds(kept, databases, handle.url, home.prefect / "prefect.db")
        try:
            yield worlds
        finally:
            worlds.close()
            stop(handle)
            os.environ.clear()
            os.environ.update(before)
