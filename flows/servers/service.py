"""What the Prefect and the MLflow server have in common: a process, an address, a record.

Which servers run, for whom and until when stands in the home's `servers.json`; whoever changes it
holds `servers_lock`. It never holds a password.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tasks.processes.detached import (
    identity,
    is_alive,
    kill_orphans,
    start_detached,
    terminate,
    was_killed,
)
from tasks.processes.termination import unbroken
from tasks.settings.errors import StageError
from tasks.settings.passwords import without_passwords
from tasks.storage.durable import make_folder
from tasks.storage.home import Home
from tasks.storage.locks import FileLock
from tasks.storage.sealed import read_either, write_twice
from tasks.storage.sqlite_file import set_aside_if_broken

Progress = Callable[[float], None]
"""Called about ten times a second while a server starts, with the seconds so far."""
SERVERS = ("prefect", "mlflow")
"""The names under which `servers.json` holds servers."""
held_ports: dict[int, socket.socket] = {}
"""Listening sockets of servers that this process started, or was given, by port."""
_log = logging.getLogger("sparring.servers")
_OF_USERS = ("users", "persistent")
_OURS = ("http://127.", "http://[::1]", "http://localhost:")


@dataclass(frozen=True, slots=True)
class Service:
    """How to start one server, and how to recognise it."""

    name: str
    """The name by which `servers.json` knows it, one of `SERVERS`."""
    title: str
    """The name that people read, in messages."""
    command: list[str]
    """The program and its arguments; no secret is among them."""
    takes_socket: bool
    """Whether it is given the descriptor of a listening socket as its last argument."""
    environment: dict[str, str]
    """All of its environment; secrets go this way."""
    log: Path
    """The file that its output goes to; the program starts in the folder of that file."""
    health: str
    """Answers as soon as the server serves."""
    record: dict[str, Any]
    """For `servers.json`: `url`, `host`, `port`, and what it takes to start it again."""
    database: Path | None = None
    """Its database, where that is a file of ours."""


def servers_lock(home: Home, timeout: float = 180.0) -> FileLock:
    """Return the lock of a home's servers: one process at a time starts, finds or stops them."""
    return FileLock(home.root / "servers.lock", timeout=timeout)


def all_records(home: Home) -> dict[str, dict[str, Any]]:
    """Return what `servers.json` says, by name; empty when there is none."""
    try:
        return read_either(home.servers)
    except FileNotFoundError:
        return {}


def read_record(home: Home, name: str) -> dict[str, Any]:
    """Return what is on record of one server; empty when nothing is."""
    return dict(all_records(home).get(name, {}))


def save_record(home: Home, name: str, record: dict[str, Any]) -> None:
    """Put one server's part of `servers.json` on disk, and leave the others' as they are."""
    write_twice(home.servers, {**all_records(home), name: record})


def other_users(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the live processes, other than this one, that use the server on record."""
    users = record.get("users", [])
    return [user for user in users if user["pid"] != os.getpid() and is_alive(user)]


def begin(home: Home, service: Service, **more: Any) -> dict[str, Any]:
    """Start a server in a session of its own and put it on record; it does not answer yet.

    The caller holds the `servers_lock`; `more` are further fields of the record, which is returned.
    """
    make_folder(service.log.parent)
    _see_to_database(service)
    descriptors = [hold_port(service).fileno()] if service.takes_socket else []
    pid = 0
    try:
        with unbroken():
            # In its own folder: a `prefect.toml` or `tasks.py` of the caller's is not for it.
            pid = start_detached(
                [*service.command, *map(str, descriptors)],
                folder=service.log.parent,
                environment=service.environment,
                log=service.log,
                descriptors=descriptors,
            ).pid
            record = {**service.record, **identity(pid), **more}
            # On record before it answers: a run killed now leaves a server that the next finds.
            save_record(home, service.name, record)
    except BaseException:  # a full disk or a signal must not leave a server that nobody stops
        if pid:
            terminate(pid)
        let_go(service.record["port"])
        raise
    return record


def _see_to_database(service: Service) -> None:
    """Put a damaged database out of the way, for the server to begin a new one."""
    path = service.database
    if path is not None and (aside := set_aside_if_broken(path)):
        _log.warning(
            "the database of the %s server was damaged: it is %s now, and a new one begins, which "
            "has none of the records before; the store has all results",
            service.title,
            aside,
        )


def hold_port(service: Service) -> socket.socket:
    """Return the listening socket of a server, which this process keeps: callers wait in it."""
    host, port = service.record["host"], service.record["port"]
    if port not in held_ports:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        held_ports[port] = socket.create_server((host, port), family=family, backlog=2048)
    return held_ports[port]


def let_go(port: int | None) -> None:
    """Close the listening socket of a server that is to stay away."""
    if listening := held_ports.pop(port or 0, None):
        listening.close()


def begin_again(home: Home, service: Service, record: dict[str, Any]) -> dict[str, Any]:
    """Start a server that died, for the same users; the caller holds the lock."""
    kill_orphans(record["pid"])
    return begin(home, service, **{key: record[key] for key in _OF_USERS if key in record})


def wait(
    home: Home, service: Service, record: dict[str, Any], tell: Progress, timeout: float
) -> dict[str, Any]:
    """Wait until a server that `begin` started answers, and return its record.

    One that is killed meanwhile is started again.

    Raises:
        StageError: It ended or did not answer in time; it is stopped and off the record, and the
            end of its log is quoted, without passwords.
    """
    began = time.monotonic()
    try:
        while (waited := time.monotonic() - began) < timeout:
            if answers(service.health, seconds=1.0):
                return record
            if not is_alive(record):
                if not was_killed(record["pid"]):
                    break
                record = begin_again(home, service, record)
            tell(waited)
            time.sleep(0.1)
        ended = not is_alive(record)
        save_record(home, service.name, {})
    except BaseException:
        _give_up(record)
        raise
    _give_up(record)
    lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = without_passwords("\n".join(lines[-15:]))
    why = "ended at once" if ended else f"did not answer in {timeout:g} s"
    raise StageError(f"the {service.title} server {why}; its log {service.log} ends:\n{tail}")


def _give_up(record: dict[str, Any]) -> None:
    terminate(record["pid"])
    let_go(record["port"])


def comes_up(record: dict[str, Any], health: str, tell: Progress, timeout: float) -> bool:
    """Whether the server on record answers; one that a killed run has just started gets its time.

    A second one beside it would share its database, and nobody would stop the first.
    """
    if not is_alive(record):
        return False
    patience = max(10.0, record["started"] + timeout - time.time())
    began = time.monotonic()
    while is_alive(record) and (waited := time.monotonic() - began) < patience:
        if answers(health, seconds=10.0):
            return True
        tell(waited)
        time.sleep(0.1)
    return False


def end(home: Home, name: str) -> bool:
    """Stop the server on record with all its processes; return whether there was one.

    Its address stays on record: bookmarks hold as long as the port is free, and a PREFECT_API_URL
    that was passed on is recognised as ours.
    """
    record = read_record(home, name)
    was_alive = is_alive(record)
    if record.get("url"):
        lasting = ("url", "host", "port", "mlruns")
        save_record(home, name, {key: record[key] for key in lasting if key in record})
    if was_alive:
        terminate(record["pid"])
    if record.get("pid"):
        kill_orphans(record["pid"])
    let_go(record.get("port"))
    return was_alive


def answers(url: str, seconds: float) -> bool:
    """Whether an HTTP server answers at `url`; a refusal to let us in is an answer."""
    try:
        fetch(url, seconds)
    except urllib.error.HTTPError as refusal:
        return refusal.code < 500
    except (OSError, ValueError):
        return False
    return True


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """Return an address without its login, and the header that has it."""
    before, _, host = urlsplit(url).netloc.rpartition("@")
    if not before:
        return url, {}
    token = base64.b64encode(unquote(before).encode()).decode()
    return urlsplit(url)._replace(netloc=host).geturl(), {"Authorization": f"Basic {token}"}


def fetch(url: str, seconds: float, headers: dict[str, str] | None = None) -> bytes:
    """Return what is at `url`; a proxy is asked only for addresses that are not ours.

    A name and a password before the host are sent as they are meant: urllib takes them for it.
    """
    url, login = _without_login(url)
    headers = {**login, **(headers or {})}
    handlers = [urllib.request.ProxyHandler({})] if url.startswith(_OURS) else []
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener(*handlers).open(request, timeout=seconds) as answer:
        return bytes(answer.read())


def fetch_json(url: str, seconds: float) -> Any:
    """Return the JSON at `url`."""
    return json.loads(fetch(url, seconds))
