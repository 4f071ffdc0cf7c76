"""Ports of this machine: whether one is free, and which one a server may take."""

from __future__ import annotations

import socket

from tasks.settings.errors import StageError


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on a port of an address of this machine."""
    with _socket(host) as probe:
        # As the server does: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(wish: int | None = None, host: str = "127.0.0.1") -> int:
    """Return a free port of an address of this machine: the wished one, if it is free.

    Raises:
        StageError: No port is free.
    """
    if wish and is_free(host, wish):
        return wish
    with _socket(host) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise StageError(f"no free port on {host}: {error.strerror}") from None
        return int(probe.getsockname()[1])


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
