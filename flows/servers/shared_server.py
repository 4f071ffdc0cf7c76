"""A real Prefect server on this machine, without anybody having to start one.

`start_prefect_server` finds or starts Prefect's before Prefect is imported: its settings are read
from the environment at import, so the caller puts `prefect_environment` into `os.environ` first.
Runs that overlap share one server; the last one to leave stops it, and the next run takes over
one whose run was killed. `flows.servers.persistent` has one stay beyond its runs.
"""

from __future__ import annotations

import os
import time
import urllib.error
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flows.servers.access import PREFECT_PASSWORD
from flows.servers.prefect_server import BY_HAND, is_users_own, prefect_service, serves_home
from flows.servers.service import (
    Progress,
    Service,
    answers,
    begin,
    comes_up,
    end,
    fetch,
    other_users,
    read_record,
    save_record,
    servers_lock,
    wait,
)
from tasks.processes.detached import identity, is_alive
from tasks.processes.ports import free_port, is_free
from tasks.processes.termination import unbroken
from tasks.settings.errors import ConfigError
from tasks.storage.home import Home

LOOPBACK = "127.0.0.1"
Maker = Callable[[str, int], Service]
"""Says how to start a server on a host and a port."""


@dataclass(frozen=True, slots=True)
class ServerHandle:
    """One run's hold on a Prefect server; `stop` gives it back."""

    url: str
    """The address of the API, for `PREFECT_API_URL`."""
    pid: int | None
    """The server's process; None for a server that is not ours to stop."""
    started_by_us: bool
    """Whether this run started the server, or took it over from a run that died."""
    home: Home
    """The home whose `servers.json` names it."""


def start_prefect_server(
    home: Home, progress: Progress | None = None, timeout: float = 90.0
) -> ServerHandle:
    """Find the Prefect server to use, or start one in the background.

    In this order: the server `PREFECT_API_URL` names; the one an earlier or concurrent run, or
    `start_servers`, started here; one that the user started on this home by hand; a new one on a
    free loopback port, in a session of its own, so that it outlives a killed run.

    A new server must answer within `timeout` seconds, and keeps its database in `home.prefect`.

    Returns:
        The hold on the server; every one must be given back with `stop`.

    Raises:
        ConfigError: `PREFECT_API_URL` names a server that does not answer.
        StageError: The new server ended or did not answer in time; the end of its log is quoted.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    if is_users_own(home, url):
        require_answer(url)
        return ServerHandle(url, None, False, home)
    home.ensure()
    _await_restart(home)
    with servers_lock(home):
        try:
            return _joined_server(home, progress or (lambda seconds: None), timeout)
        except BaseException:  # a signal, or no entry, must not leave a server that nobody stops
            _leave(home)
            raise


def _joined_server(home: Home, tell: Progress, timeout: float) -> ServerHandle:
    """Find or start a server and be one of its users; the caller holds the lock."""
    make, me = partial(prefect_service, home), identity(os.getpid())
    record = find_server(home, "prefect", make, tell, timeout)
    if record is None:
        if serves_home(BY_HAND, home):
            return ServerHandle(BY_HAND, None, False, home)
        service = new_server(home, "prefect", make)
        begun = begin(home, service, users=_joined(home, me))
        record = wait(home, service, begun, tell, timeout)
    others = other_users(record)
    save_record(home, "prefect", {**record, "users": _joined(home, me)})
    alone = not others and not record.get("persistent")
    _require_entry(record["url"])
    return ServerHandle(record["url"], record["pid"], alone, home)


def stop(handle: ServerHandle) -> None:
    """Give a server back; end one of ours that no other live run uses and that is not to stay."""
    if handle.pid is None:
        return
    with unbroken(), servers_lock(handle.home):
        _leave(handle.home)


def _leave(home: Home) -> None:
    record = read_record(home, "prefect")
    # It may have been started again meanwhile; ours is the hold, whatever its number is now.
    if os.getpid() not in [user["pid"] for user in record.get("users", [])]:
        return
    others = other_users(record)
    if others or record.get("persistent"):
        save_record(home, "prefect", {**record, "users": others})
        return
    end(home, "prefect")


def _joined(home: Home, me: dict[str, Any]) -> list[dict[str, Any]]:
    return [*other_users(read_record(home, "prefect")), me]


def _await_restart(home: Home, patience: float = 20.0) -> None:
    """Give those who use a server that has just died the time to start it again themselves."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        record = read_record(home, "prefect")
        is_dead = "pid" in record and not is_alive(record)
        if not is_dead or not (other_users(record) or is_alive(read_record(home, "supervisor"))):
            return
        time.sleep(0.2)


def find_server(
    home: Home, name: str, make: Maker, tell: Progress, timeout: float
) -> dict[str, Any] | None:
    """Return the record of a server that answers; one that hangs is ended first."""
    record = read_record(home, name)
    if record.get("pid"):
        health = make(record.get("host", LOOPBACK), record["port"]).health
        if comes_up(record, health, tell, timeout):
            return record
        end(home, name)
    return None


def new_server(
    home: Home, name: str, make: Maker, host: str = LOOPBACK, port: int | None = None
) -> Service:
    """Return how to start a server: on the port asked for, else on that of last time if free."""
    if port is not None and not is_free(host, port):
        raise ConfigError(
            f"port {port} of {host} is taken, or not ours to take: choose another with "
            f"--{name}-port, or leave it out and a free one is chosen"
        )
    return make(host, port or free_port(read_record(home, name).get("port"), host))


def _require_entry(url: str) -> None:
    """Raise ConfigError if the server of this home wants a password that we were not given."""
    login = os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get(PREFECT_PASSWORD, "")
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    try:
        fetch(f"{url}/admin/version", 10.0, headers)
    except urllib.error.HTTPError as refusal:
        if refusal.code == 401:
            raise ConfigError(
                f"the Prefect server at {url} wants a password: set PREFECT_API_AUTH_STRING to "
                f"the {PREFECT_PASSWORD} with which `sparring up` started it"
            ) from None
    except OSError:
        return  # it has just died; whoever uses it starts it again


def require_answer(url: str) -> None:
    """Raise ConfigError unless the user's own Prefect server answers."""
    if not answers(f"{url.rstrip('/')}/health", seconds=10.0):
        raise ConfigError(
            f"PREFECT_API_URL is {url}, and nothing answers there: start that server, or unset "
            "the variable and a local one is started"
        )
