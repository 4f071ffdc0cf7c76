"""The process of a Prefect server: Prefect's own application behind a socket it was given.

Whoever started it holds the socket too. When this process dies, those who call wait in the
socket's queue until it is started again; with a socket of its own they would be refused, and
Prefect's client gives up at a first call that is refused.

Prefect's own `prefect server start --background` does not serve: it binds a socket of its own,
writes its log into a pipe that nobody reads, and its `server.pid` outlives a server that was killed
and forbids the next start; `prefect server stop` does not wait for the end.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from flows.servers.access import PREFECT_PASSWORD
from flows.servers.own_names import only_own_names
from flows.servers.sqlite_retry import retrying
from tasks.storage.sqlite_file import make_beside

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
"""Variable that names another database than the home's."""
_UPGRADE = ("-m", "prefect", "server", "database", "upgrade", "-y")


def main() -> None:
    """Serve on the socket whose file descriptor is the only argument, until told to end."""
    if not os.environ.get(DATABASE):
        _make_database(Path(os.environ["PREFECT_HOME"]) / "prefect.db")
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    app = retrying(create_app(final=True))
    if not os.environ.get(PREFECT_PASSWORD):
        app = only_own_names(app, (server.api.cors_allowed_origins or "").split(","))
    config = uvicorn.Config(
        app,
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
    )
    listening = socket.socket(fileno=int(sys.argv[1]))
    collect_aside()
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def collect_aside(pause: float = 3.0) -> None:
    """Collect garbage from a thread of its own, every so many seconds, and nowhere else.

    Garbage may hold a cursor of SQLite, and to end one waits for whatever its connection does. In
    the thread of the server's event loop that stopped everything: the connection waited for a
    transaction that waited for the loop, for the minute that Prefect lets a connection wait.
    """
    gc.disable()

    def collect() -> None:
        time.sleep(pause)
        gc.collect()
        gc.freeze()  # the server's own modules need no second look
        while True:
            time.sleep(pause)
            gc.collect()

    threading.Thread(target=collect, name="garbage", daemon=True).start()


def _make_database(path: Path) -> None:
    """Make the database of a home unless there is one; a kill leaves a whole one or none."""

    def make(making: Path) -> None:
        variables = {**os.environ, DATABASE: f"sqlite+aiosqlite:///{making}"}
        # In a process of its own: Prefect reads its settings once.
        subprocess.run([sys.executable, *_UPGRADE], env=variables, check=True)

    if not path.exists():
        make_beside(path, make)


if __name__ == "__main__":
    main()
