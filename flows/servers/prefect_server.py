"""The Prefect server of a home: its command, its settings, and those of the processes it serves."""

from __future__ import annotations

import os
import sys

from flows.servers.access import PREFECT_PASSWORD, address
from flows.servers.prefect_process import DATABASE
from flows.servers.service import Service, fetch_json, read_record
from tasks.storage.home import Home

BY_HAND = "http://127.0.0.1:4200/api"
"""Where `prefect server start` listens when nothing is said."""
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a flow run; Prefect allows no shorter."""


def prefect_environment(home: Home, url: str) -> dict[str, str]:
    """Return the variables a process needs before it imports Prefect.

    They say the API's address, how often a run says that it lives, and that there is no telemetry;
    and Prefect's home inside ours and the password we were given for the server, unless the server
    is the user's own, whose profile and login must stay in force.
    """
    variables = {
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "DO_NOT_TRACK": "1",
    }
    if not is_users_own(home, url):
        variables["PREFECT_HOME"] = str(home.prefect)
        if password := os.environ.get(PREFECT_PASSWORD):
            variables["PREFECT_API_AUTH_STRING"] = password
    return variables


def use_prefect_server(home: Home, url: str) -> None:
    """Let this process and those it starts use the server at `url`.

    Prefect reads its settings when it is imported; where that has happened, it reads them again.
    """
    os.environ.update(prefect_environment(home, url))
    if context := sys.modules.get("prefect.context"):
        context.refresh_global_settings_context()


def prefect_service(home: Home, host: str, port: int) -> Service:
    """Return how to start the Prefect server of a home.

    Its database is `home.prefect/prefect.db`, or what PREFECT_SERVER_DATABASE_CONNECTION_URL says.
    """
    base = address(host, port)
    environment = {**os.environ, **prefect_environment(home, f"{base}/api")}
    # The server must not take itself for a client of another one.
    del environment["PREFECT_API_URL"]
    # Or its pages look for the API at the default port; so they find it behind a tunnel, too.
    environment["PREFECT_SERVER_UI_API_URL"] = "/api"
    # By default any page that a browser here has open may call the API.
    environment.setdefault("PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS", base)
    # In memory they are forgotten when the server dies, and the slots they hold stay taken.
    environment.setdefault(
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
        "prefect.server.concurrency.lease_storage.filesystem",
    )
    return Service(
        name="prefect",
        title="Prefect",
        command=[sys.executable, "-m", "flows.servers.prefect_process"],
        takes_socket=True,
        environment=environment,
        log=home.prefect / "server.log",
        health=f"{base}/api/health",
        record={"url": f"{base}/api", "host": host, "port": port},
        database=None if environment.get(DATABASE) else home.prefect / "prefect.db",
    )


def is_users_own(home: Home, url: str) -> bool:
    """Whether `url` is a server the user chose, not one on record that we passed on to a child."""
    is_chosen = bool(url) and url == os.environ.get("PREFECT_API_URL")
    return is_chosen and url != read_record(home, "prefect").get("url")


def serves_home(url: str, home: Home) -> bool:
    """Whether the Prefect server at `url` keeps its database in our home."""
    try:
        settings = fetch_json(f"{url}/admin/settings", 2.0)
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("home") == str(home.prefect)
