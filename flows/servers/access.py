"""Who may reach a server: this machine only, or others with a password."""

from __future__ import annotations

import ipaddress
import os

from tasks.settings.errors import ConfigError

PREFECT_PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
"""Prefect's own setting, `user:password`; clients give it as PREFECT_API_AUTH_STRING."""
MLFLOW_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
"""MLflow's own setting: the password of the user MLFLOW_AUTH_ADMIN_USERNAME (default admin)."""
MLFLOW_SESSION_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
"""MLflow's own setting: signs its forms; any long random text, the same for every start."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`.

    Raises:
        ConfigError: It is neither an address nor `localhost`.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(
            f"--host is {host!r}; give an address of this machine such as 127.0.0.1 or 0.0.0.0"
        ) from None


def require_authentication(host: str, *, prefect: bool, mlflow: bool) -> None:
    """Refuse to open those of both servers that are to be started to others without a password.

    Raises:
        ConfigError: `host` is not loopback, and a variable that closes the server is unset; all
            that are missing are named.
    """
    if is_loopback(host):
        return
    needed = [PREFECT_PASSWORD] if prefect else []
    needed += [MLFLOW_PASSWORD, MLFLOW_SESSION_KEY] if mlflow else []
    if missing := [name for name in needed if not os.environ.get(name)]:
        raise ConfigError(
            f"--host {host} opens the servers to other machines, and whoever reaches them could "
            f"start runs and read every record: set {', '.join(missing)}; or leave --host out"
        )
    password = os.environ.get(PREFECT_PASSWORD, "")
    if prefect and not all(password.partition(":")):
        raise ConfigError(f"{PREFECT_PASSWORD} must be `user:password`")


def address(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on `host`."""
    name = _ANYWHERE.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
