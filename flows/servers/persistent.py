"""Servers that stay until they are stopped: what `sparring up` and `down` do."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from flows.servers.access import require_authentication
from flows.servers.mlflow_server import is_users_tracking, mlflow_service
from flows.servers.prefect_server import is_users_own, prefect_service
from flows.servers.service import (
    SERVERS,
    Progress,
    begin,
    end,
    read_record,
    save_record,
    servers_lock,
    wait,
)
from flows.servers.shared_server import LOOPBACK, Maker, find_server, new_server, require_answer
from flows.servers.supervisor import start_supervisor, stop_supervisor
from tasks.processes.detached import is_alive
from tasks.settings.errors import ConfigError
from tasks.stages.runs.run_store import list_runs
from tasks.storage.home import Home, make_private
from tasks.storage.locks import FileLock
from tasks.tracking.mlflow_record.connection import migration_lock, ready_database


def start_servers(
    home: Home,
    *,
    mlruns: Path,
    host: str = LOOPBACK,
    prefect_port: int | None = None,
    mlflow_port: int | None = None,
    progress: Progress | None = None,
    timeout: float = 120.0,
) -> dict[str, str]:
    """Start one Prefect and one MLflow server, or find them; they stay until `stop_servers`.

    One that PREFECT_API_URL or MLFLOW_TRACKING_URI names is the user's: none is started for it.

    They listen on `host`, where others than loopback need passwords, and on the ports that are
    asked for, else on those of last time, which `servers.json` remembers, or on free ones. They
    must answer within `timeout` seconds. MLflow's database lies in `mlruns`.

    Returns:
        Address by name: `prefect` (its API) and `mlflow`.

    Raises:
        ConfigError: A port is taken; a server already runs elsewhere; no password for a `host`
            that others reach; the user's own Prefect server does not answer.
        StageError: A server ended or did not answer; none that this call began is left.
    """
    theirs = _users_own(home)
    makers: dict[str, Maker] = {
        "prefect": partial(prefect_service, home),
        "mlflow": partial(mlflow_service, home, mlruns),
    }
    ports = {"prefect": prefect_port, "mlflow": mlflow_port}
    wanted = [name for name in SERVERS if name not in theirs]
    require_authentication(host, prefect="prefect" in wanted, mlflow="mlflow" in wanted)
    home.ensure()
    tell = progress or (lambda seconds: None)
    with servers_lock(home), ExitStack() as undo:
        found = {name: find_server(home, name, makers[name], tell, timeout) for name in wanted}
        for name in wanted:
            _refuse_other_place(name, found[name], host, ports[name])
        new = {
            name: new_server(home, name, makers[name], host, ports[name])
            for name in wanted
            if not found[name]
        }
        if "mlflow" in new:
            # Whoever else makes or migrates the database waits until the server has done it.
            make_private(Path(mlruns).absolute())
            undo.enter_context(FileLock(migration_lock(mlruns), timeout=timeout))
            if not os.environ.get("MLFLOW_BACKEND_STORE_URI"):
                ready_database(Path(mlruns).absolute() / "mlflow.db")
        for name, service in new.items():
            undo.callback(_end_unless_persistent, home, name)
            begin(home, service)
        for name, service in new.items():
            wait(home, service, read_record(home, name), tell, timeout)
        for name in wanted:
            save_record(home, name, {**read_record(home, name), "persistent": True})
        start_supervisor(home)
    return {**{name: read_record(home, name)["url"] for name in wanted}, **theirs}


def stop_servers(home: Home, *, force: bool = False) -> list[str]:
    """Stop the servers of a home with all their processes; return the names of those that ran.

    Raises:
        ConfigError: A run is at work, and `force` is False.
    """
    busy = [run for run in list_runs(home) if run.status == "running"] if home.runs.is_dir() else []
    if busy and not force:
        names = ", ".join(f"{run.id} (process {run.owner.get('pid')})" for run in busy)
        raise ConfigError(
            f"the servers are in use by {names}: wait for it or stop it, or give --force; a run "
            "whose Prefect server goes away fails at its next step and can be resumed"
        )
    if not home.root.is_dir():
        return []
    with servers_lock(home):
        stop_supervisor(home)
        return [name for name in SERVERS if end(home, name)]


def _refuse_other_place(
    name: str, record: dict[str, Any] | None, host: str, port: int | None
) -> None:
    """Refuse to say that a server is where it was asked to be when it is somewhere else."""
    if record is None:
        return
    here = record.get("host", LOOPBACK)
    if here != host or port not in (None, record["port"]):
        raise ConfigError(
            f"the {name} server already listens on {here}, port {record['port']}; "
            "`sparring down` stops it"
        )


def _users_own(home: Home) -> dict[str, str]:
    """Return the servers that the user's environment names; Prefect's must answer."""
    theirs = {}
    if is_users_own(home, url := os.environ.get("PREFECT_API_URL", "")):
        require_answer(url)
        theirs["prefect"] = url
    if is_users_tracking(home):
        theirs["mlflow"] = os.environ["MLFLOW_TRACKING_URI"]
    return theirs


def _end_unless_persistent(home: Home, name: str) -> None:
    if not read_record(home, name).get("persistent") and is_alive(read_record(home, name)):
        end(home, name)
