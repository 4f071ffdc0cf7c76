"""What `sparring up` and `down` do and say."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.runs.console import print_json
from flows.servers.access import MLFLOW_PASSWORD, PREFECT_PASSWORD
from flows.servers.mlflow_server import is_users_tracking, mlflow_environment
from flows.servers.persistent import start_servers, stop_servers
from flows.servers.prefect_server import HEARTBEAT_SECONDS, use_prefect_server
from flows.servers.service import answers
from tasks.settings.passwords import without_passwords
from tasks.storage.home import current_home


def start(
    console: Console,
    *,
    host: str,
    prefect_port: int | None,
    mlflow_port: int | None,
    mlruns: Path,
) -> dict[str, Any]:
    """Start or find both servers, and bring what they show up to date.

    Runs that died are closed on Prefect's pages, and records that waited for MLflow are sent to it.
    The arguments are those of `start_servers`.

    Returns:
        `prefect`, `mlflow`: their addresses; `environment`: the variables that a worker needs,
        without secrets; `secrets`: the names of those that it needs too; `mlflow_ui`: the command
        that shows the same records without a server of ours; `sent`: how many records had waited
        for MLflow; `notes`: sentences about what is wrong, deployments that cannot run among them.
    """
    home = current_home()
    with console.status("starting the servers …", spinner="dots"):
        urls = start_servers(
            home, mlruns=mlruns, host=host, prefect_port=prefect_port, mlflow_port=mlflow_port
        )
    notes = []
    is_remote = is_users_tracking(home) and urls["mlflow"].startswith("http")
    if is_remote and not answers(urls["mlflow"], seconds=5.0):
        notes.append("MLFLOW_TRACKING_URI does not answer; records wait here until it does")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    use_prefect_server(home, urls["prefect"])
    os.environ.update(mlflow_environment() | {"MLFLOW_TRACKING_URI": urls["mlflow"]})
    from flows.servers.dead_runs import close_dead_runs

    close_dead_runs(home)
    sent, problem = _send_backlog(mlruns)
    problem += _broken_deployments()
    database = f"sqlite:///{mlruns.absolute()}/mlflow.db"
    store = os.environ.get("MLFLOW_BACKEND_STORE_URI") or database
    wanted = {
        "PREFECT_API_URL": urls["prefect"],
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "MLFLOW_TRACKING_URI": urls["mlflow"],
    }
    secret = [name for name, value in wanted.items() if value != without_passwords(value)]
    return {
        "prefect": without_passwords(urls["prefect"]),
        "mlflow": without_passwords(urls["mlflow"]),
        "environment": {name: value for name, value in wanted.items() if name not in secret},
        "secrets": [*secret, *_secrets()],
        "mlflow_ui": f"mlflow ui --backend-store-uri {shlex.quote(without_passwords(store))}",
        "sent": sent,
        "notes": notes + problem,
    }


def show_servers(state: dict[str, Any], console: Console, *, as_json: bool) -> None:
    """Print what `start` returned."""
    if as_json:
        print_json(state)
        return

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"Prefect  {state['prefect'].removesuffix('/api')}")
    say(f"MLflow   {state['mlflow']}")
    say("\nFor workers and other shells:")
    for name, value in {**state["environment"], **dict.fromkeys(state["secrets"], "…")}.items():
        say(f"export {name}={value}")
    say("\nThe same records without this server:")
    say(state["mlflow_ui"])
    for note in state["notes"]:
        say(f"note: {note}")
    say("\n`sparring down` stops both.")


def stop(console: Console, *, force: bool, as_json: bool) -> None:
    """Stop the servers and say which there were."""
    stopped = stop_servers(current_home(), force=force)
    if as_json:
        print_json({"stopped": stopped})
        return
    names = " and ".join({"prefect": "Prefect", "mlflow": "MLflow"}[name] for name in stopped)
    console.print(f"stopped {names}" if stopped else "no server was running", highlight=False)


def _secrets() -> list[str]:
    """Return the names of the variables with which a worker logs in."""
    prefect = ["PREFECT_API_AUTH_STRING"] if os.environ.get(PREFECT_PASSWORD) else []
    login = ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
    return prefect + (login if os.environ.get(MLFLOW_PASSWORD) else [])


def _broken_deployments() -> list[str]:
    """Return a sentence about each deployment that the installed code cannot run."""
    from flows.schedule.deployment_check import check_deployments

    try:
        return [one.sentence for one in check_deployments() if one.problem]
    except Exception as error:  # the servers run, whatever is registered there
        return [f"whether the deployments can be run is not known: {error}"]


def _send_backlog(mlruns: Path) -> tuple[int, list[str]]:
    """Send MLflow what earlier runs could not; return the number of records, and any problem."""
    from tasks.tracking.mlflow_record.cursor import is_waiting
    from tasks.tracking.spool import spooled_runs

    spool = current_home().spool
    if not any(is_waiting(folder) for folder in spooled_runs(spool)):
        return 0, []
    from tasks.tracking.event_sink import open_sink

    try:
        return open_sink(mlruns).drain(spool, wait_seconds=5.0), []
    except Exception as error:  # tracking never stops work
        why = without_passwords(str(error))
        return 0, [f"records of earlier runs are not in MLflow yet: {why}"]
