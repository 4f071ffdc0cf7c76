"""Starts servers again that died, on the same port and database.

It is a thread of every run that uses a server, and a process of its own from `sparring up` until
`sparring down`. Prefect's client tries again for a minute, so a flow goes on where it was; MLflow's
records wait in the spool.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.servers.mlflow_server import mlflow_service
from flows.servers.prefect_server import prefect_service
from flows.servers.service import (
    SERVERS,
    Service,
    all_records,
    begin_again,
    held_ports,
    read_record,
    save_record,
    servers_lock,
)
from tasks.processes.detached import identity, is_alive, start_detached, terminate
from tasks.storage.errors import LockTimeoutError
from tasks.storage.home import Home, current_home

_EVERY_SECONDS = 1.0
_SOON_SECONDS = 20.0
"""A server that dies within this time of its start is not started again at once."""
_LONGEST_PAUSE_SECONDS = 60.0
_log = logging.getLogger("sparring.flows")


class Supervisor:
    """Looks after the servers of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._pauses: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def restart_dead(self) -> bool:
        """Start again what died and is wanted; return whether any server is to stay."""
        records = all_records(self._home)
        for name in SERVERS:
            record = records.get(name, {})
            is_due = time.monotonic() >= self._not_before.get(name, 0.0)
            if _is_wanted(record) and not is_alive(record) and is_due:
                self._restart(name)
        return any(records.get(name, {}).get("persistent") for name in SERVERS)

    def _restart(self, name: str) -> None:
        """Start a dead server on its old port, unless somebody else just did."""
        try:
            with servers_lock(self._home, timeout=0.0):
                record = read_record(self._home, name)
                if not _is_wanted(record) or is_alive(record):
                    return
                begin_again(self._home, _service_on_record(self._home, name, record), record)
        except LockTimeoutError:
            return  # somebody starts or stops servers now
        except OSError as error:
            _log.warning("the %s server died and cannot be started again: %s", name, error)
        else:
            _log.warning("the %s server died; it is started again", name)
        lived = time.time() - record["started"]
        longer = min(2 * self._pauses.get(name, 1.0), _LONGEST_PAUSE_SECONDS)
        self._pauses[name] = longer if lived < _SOON_SECONDS else 1.0
        self._not_before[name] = time.monotonic() + self._pauses[name]


@contextmanager
def supervising(home: Home) -> Iterator[None]:
    """Look after the servers of a home from a thread during the block."""
    closing = threading.Event()
    supervisor = Supervisor(home)

    def work() -> None:
        while not closing.wait(_EVERY_SECONDS):
            try:
                supervisor.restart_dead()
            except Exception as error:  # the work goes on, watched or not
                _log.warning("cannot look after the servers: %s", error)

    thread = threading.Thread(target=work, name="server-supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join(timeout=10.0)


def start_supervisor(home: Home) -> None:
    """Start the process that looks after a home's servers, if there is none; needs the lock."""
    if is_alive(read_record(home, "supervisor")):
        return
    # In its own folder, as the servers: a `tasks.py` of the caller's would hide ours.
    environment = {**os.environ, "SPARRING_HOME": str(home.root)}
    descriptors = [listening.fileno() for listening in held_ports.values()]
    child = start_detached(
        [sys.executable, "-m", "flows.servers.supervisor", *map(str, descriptors)],
        folder=home.prefect,
        environment=environment,
        log=home.root / "supervisor.log",
        descriptors=descriptors,
    )
    save_record(home, "supervisor", identity(child.pid))


def stop_supervisor(home: Home) -> None:
    """End the process that looks after a home's servers; the caller holds the lock."""
    record = read_record(home, "supervisor")
    if record:
        save_record(home, "supervisor", {})
    if is_alive(record):
        # The servers that it started again are its children.
        terminate(record["pid"], with_children=False)


def _service_on_record(home: Home, name: str, record: dict[str, Any]) -> Service:
    """Return how to start again, on its own port, a server that was started before."""
    if name == "prefect":
        return prefect_service(home, record.get("host", "127.0.0.1"), record["port"])
    return mlflow_service(home, Path(record["mlruns"]), record["host"], record["port"])


def main() -> None:
    """Look after the servers of the current home until none is to stay.

    The arguments are descriptors of their listening sockets.
    """
    for descriptor in sys.argv[1:]:
        listening = socket.socket(fileno=int(descriptor))
        held_ports[listening.getsockname()[1]] = listening
    logging.basicConfig(format="%(asctime)s %(message)s")
    supervisor = Supervisor(current_home())
    while supervisor.restart_dead():
        time.sleep(_EVERY_SECONDS)


def _is_wanted(record: dict[str, Any]) -> bool:
    users = record.get("users", [])
    is_used = record.get("persistent") or any(is_alive(user) for user in users)
    return bool(record.get("pid") and is_used)


if __name__ == "__main__":
    main()
