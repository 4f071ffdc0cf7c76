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
import socket
import sys

from flows.servers.sqlite_retry import retrying


def main() -> None:
    """Serve on the socket whose file descriptor is the only argument, until told to end."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    config = uvicorn.Config(
        retrying(create_app(final=True)),
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
    )
    listening = socket.socket(fileno=int(sys.argv[1]))
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
