"""The MLflow server of a home: its command, its settings, and those of its clients."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flows.servers.access import MLFLOW_PASSWORD, MLFLOW_SESSION_KEY, address, is_loopback
from flows.servers.own_names import LOCAL_NAMES
from flows.servers.service import Service, read_record
from tasks.storage.files import write_atomic
from tasks.storage.home import Home

_CLIENT = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
_ADMIN = "MLFLOW_AUTH_ADMIN_USERNAME"


def mlflow_service(home: Home, mlruns: Path, host: str, port: int) -> Service:
    """Return how to start the MLflow server of a home.

    Its database is `mlruns/mlflow.db`, or what MLFLOW_BACKEND_STORE_URI says; files lie in
    `mlruns/artifacts`. Processes of this machine write them there themselves, so that the records
    hold with and without the server; those of other machines send them to the server. The server's
    log and its list of users are in the home.
    """
    folder = Path(mlruns).absolute()
    environment = {
        **os.environ,
        **_CLIENT,
        "MLFLOW_WORKERS": "1",
        # Serves chat applications; two more processes that nobody here asks anything.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # The server must not take itself for a client of another one.
    environment.pop("MLFLOW_TRACKING_URI", None)
    environment.setdefault("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{folder}/mlflow.db")
    artifacts = (folder / "artifacts").as_uri()
    environment.setdefault("MLFLOW_ARTIFACTS_DESTINATION", artifacts)
    if is_loopback(host) and environment["MLFLOW_ARTIFACTS_DESTINATION"] == artifacts:
        environment.setdefault("MLFLOW_DEFAULT_ARTIFACT_ROOT", artifacts)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    # By default it answers to `10.example.org` too, as to all that begins like a private address.
    if is_loopback(host):
        own = ",".join(f"{name},{name.replace('[', '[[]')}:*" for name in (*LOCAL_NAMES, host))
        further = environment.get("MLFLOW_SERVER_ALLOWED_HOSTS")
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"{own},{further}" if further else own
    # It asks for a password everywhere but on loopback, and there if one is set.
    given = bool(os.environ.get(MLFLOW_PASSWORD) and os.environ.get(MLFLOW_SESSION_KEY))
    if given or not is_loopback(host):
        command += ["--app-name", "basic-auth"]
        environment.setdefault("MLFLOW_AUTH_CONFIG_PATH", str(_login_settings(home)))
    base = address(host, port)
    return Service(
        name="mlflow",
        title="MLflow",
        command=command,
        takes_socket=False,
        environment=environment,
        log=home.root / "mlflow" / "server.log",
        health=f"{base}/health",
        record={"url": base, "host": host, "port": port, "mlruns": str(folder)},
    )


def mlflow_environment() -> dict[str, str]:
    """Return the variables by which a client logs in with the password we were given, if any."""
    if not os.environ.get(MLFLOW_PASSWORD) or os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return {}
    return {
        "MLFLOW_TRACKING_USERNAME": os.environ.get(_ADMIN) or "admin",
        "MLFLOW_TRACKING_PASSWORD": os.environ[MLFLOW_PASSWORD],
    }


def is_users_tracking(home: Home) -> bool:
    """Whether MLFLOW_TRACKING_URI names a server the user chose, not the one of this home."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    return bool(uri) and uri != read_record(home, "mlflow").get("url")


def _login_settings(home: Home) -> Path:
    """Write MLflow's file of login settings; the password comes from the environment alone."""
    folder = home.root / "mlflow"
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder}/users.db",
        "admin_username": "admin",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    path = folder / "login.ini"
    write_atomic(path, f"[mlflow]\n{lines}")
    return path
