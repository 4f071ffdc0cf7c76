"""A real Prefect server on this machine, without anybody having to start one.

`start_prefect_server` finds or starts it before Prefect is imported: Prefect's settings are read
from the environment at import, so the caller puts `prefect_environment` into `os.environ` first.
Runs that overlap share one server; the last one to leave stops it, and the next run takes over
one whose run was killed. Which server runs, and for whom, stands in `servers.json`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.processes import free_port, identity, is_alive, start_detached, terminate
from tasks.settings.errors import ConfigError, StageError
from tasks.storage.files import read_json, write_json
from tasks.storage.home import Home
from tasks.storage.locks import FileLock

_BY_HAND = "http://127.0.0.1:4200/api"
"""Where `prefect server start` listens when nothing is said."""


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


def prefect_environment(home: Home, url: str) -> dict[str, str]:
    """Return the variables a process needs before it imports Prefect.

    Args:
        home: the state folder of the run.
        url: the API's address, `ServerHandle.url`.

    Returns:
        The API's address and no telemetry; and Prefect's home inside ours, unless the server is
        the user's own, whose profile and login must stay in force.
    """
    variables = {
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if not _is_users_own(home, url):
        variables["PREFECT_HOME"] = str(home.prefect)
    return variables


def start_prefect_server(
    home: Home, progress: Callable[[float], None] | None = None, timeout: float = 90.0
) -> ServerHandle:
    """Find the Prefect server to use, or start one in the background.

    In this order: the server `PREFECT_API_URL` names; the one an earlier or concurrent run started
    here; one that the user started on this home by hand; a new one on a free loopback port, in a
    session of its own, so that it outlives a killed run.

    Args:
        home: the state folder; the server keeps its database in `home.prefect`.
        progress: called ten times a second while a new server starts, with the seconds so far.
        timeout: seconds until a new server must answer.

    Returns:
        The hold on the server; every one must be given back with `stop`.

    Raises:
        ConfigError: `PREFECT_API_URL` names a server that does not answer.
        StageError: the new server ended or did not answer in time; the end of its log is quoted.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    if _is_users_own(home, url):
        if not _answers(url, seconds=10.0):
            raise ConfigError(
                f"PREFECT_API_URL is {url}, and nothing answers there: start that server, or unset "
                "the variable and a local one is started"
            )
        return ServerHandle(url, None, False, home)
    home.ensure()
    with FileLock(home.root / "servers.lock", timeout=timeout + 30):
        record = _record(home)
        tell = progress or (lambda seconds: None)
        if not _comes_up(record, tell, timeout):
            if is_alive(record):
                terminate(record["pid"])
            if _serves_home(_BY_HAND, home):
                return ServerHandle(_BY_HAND, None, False, home)
            record = _launch(home, record.get("port"), tell, timeout)
        others = _other_users(record)
        _save(home, {**record, "users": [*others, identity(os.getpid())]})
        return ServerHandle(record["url"], record["pid"], not others, home)


def stop(handle: ServerHandle) -> None:
    """Give the server back, and end it when no other live run uses it.

    Args:
        handle: what `start_prefect_server` returned; a server that is not ours is left alone.
    """
    if handle.pid is None:
        return
    with FileLock(handle.home.root / "servers.lock", timeout=60.0):
        record = _record(handle.home)
        if record.get("pid") != handle.pid:
            return
        others = _other_users(record)
        if others:
            _save(handle.home, {**record, "users": others})
            return
        if is_alive(record):
            terminate(handle.pid)
        # The address stays on record: bookmarks hold as long as the port is free, and a child's
        # PREFECT_API_URL is recognised as ours.
        _save(handle.home, {"url": record["url"], "port": record["port"]})


def _launch(
    home: Home, port: int | None, progress: Callable[[float], None], timeout: float
) -> dict[str, Any]:
    """Start a server and wait until it answers; the caller holds the lock."""
    port = free_port(port)
    url = f"http://127.0.0.1:{port}/api"
    log = home.prefect / "server.log"
    environment = {**os.environ, **prefect_environment(home, url)}
    # The server must not take itself for a client of another one.
    del environment["PREFECT_API_URL"]
    # Or its pages look for the API at the default port; so they find it behind a tunnel, too.
    environment["PREFECT_SERVER_UI_API_URL"] = "/api"
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # In its own folder: a `prefect.toml`, `.env` or `tasks.py` of the caller's is not for it.
    child = start_detached(command, folder=home.prefect, environment=environment, log=log)
    try:
        record = {"url": url, "port": port, **identity(child.pid), "users": [identity(os.getpid())]}
        # On record before it answers: a run killed meanwhile leaves a server that the next finds.
        _save(home, record)
        began = time.monotonic()
        while child.poll() is None and (waited := time.monotonic() - began) < timeout:
            if _answers(url, seconds=1.0):
                return record
            progress(waited)
            time.sleep(0.1)
        ended = child.poll()
        _save(home, {})
    except BaseException:  # a full disk or Ctrl-C must not leave a server that nobody stops
        terminate(child.pid)
        raise
    terminate(child.pid)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    why = f"ended with code {ended}" if ended is not None else f"did not answer in {timeout:g} s"
    raise StageError(f"the Prefect server {why}; its log {log} ends:\n{tail}")


def _comes_up(record: dict[str, Any], progress: Callable[[float], None], timeout: float) -> bool:
    """Whether the server on record answers; one that a killed run has just started gets its time.

    A second one beside it would share its database, and nobody would stop the first.
    """
    if not is_alive(record):
        return False
    patience = max(10.0, record["started"] + timeout - time.time())
    began = time.monotonic()
    while is_alive(record) and (waited := time.monotonic() - began) < patience:
        if _answers(record["url"], seconds=10.0):
            return True
        progress(waited)
        time.sleep(0.1)
    return False


def _is_users_own(home: Home, url: str) -> bool:
    """Whether `url` is a server the user chose, not one on record that we passed on to a child."""
    return (
        bool(url) and url == os.environ.get("PREFECT_API_URL") and url != _record(home).get("url")
    )


def _answers(url: str, seconds: float) -> bool:
    """Whether an HTTP server answers below `url`; a refusal to let us in is an answer."""
    try:
        return _get(f"{url.rstrip('/')}/health", seconds) is not None
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _serves_home(url: str, home: Home) -> bool:
    """Whether the Prefect server at `url` keeps its database in our home."""
    try:
        settings = _get(f"{url}/admin/settings", 2.0)
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("home") == str(home.prefect)


def _get(url: str, seconds: float) -> Any:
    """Return the JSON at `url`; a proxy is asked only for addresses that are not ours."""
    ours = url.startswith("http://127.0.0.1:")
    handlers = [urllib.request.ProxyHandler({})] if ours else []
    with urllib.request.build_opener(*handlers).open(url, timeout=seconds) as answer:
        return json.loads(answer.read())


def _other_users(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the live processes, other than this one, that use the server on record."""
    users = record.get("users", [])
    return [user for user in users if user["pid"] != os.getpid() and is_alive(user)]


def _record(home: Home) -> dict[str, Any]:
    """Return what `servers.json` says of Prefect; empty when it says nothing."""
    try:
        return dict(read_json(home.servers).get("prefect", {}))
    except FileNotFoundError:
        return {}


def _save(home: Home, record: dict[str, Any]) -> None:
    """Put Prefect's part of `servers.json` on disk, and leave the other servers' as they are."""
    try:
        servers = read_json(home.servers)
    except FileNotFoundError:
        servers = {}
    write_json(home.servers, {**servers, "prefect": record})
