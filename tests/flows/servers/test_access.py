"""Who gets into the servers, and where their passwords are not."""

from __future__ import annotations

import base64
import json
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from flows.servers.service import answers, fetch
from tests.flows.command import SMALL, Shell
from tests.flows.serving import PROGRAM, RECORD, alive, end_servers, python
from tests.servers.browser import browse
from tests.servers.postgres import PASSWORD


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder of its own."""
    shell = Shell(tmp_path)
    yield shell
    end_servers(shell)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])
def test_others_need_a_password(shell: Shell, host: str) -> None:
    said = shell.refusal("up", "--host", host)
    for name in (
        "PREFECT_SERVER_API_AUTH_STRING",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    ):
        assert name in said
    assert not shell.home.root.exists(), "refused before anything is written"
    assert "127.0.0.1" in shell.refusal("up", "--host", "everywhere")


@pytest.mark.slow
def test_with_passwords_nobody_else_gets_in(shell: Shell) -> None:
    secrets = {
        "PREFECT_SERVER_API_AUTH_STRING": "admin:canary-prefect-1",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "canary-mlflow-22",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "canary-session-333",
    }
    state = json.loads(shell("up", "--host", "0.0.0.0", "--json", **secrets).stdout)
    paths = ["flow_runs/filter", "admin/settings", "version", "variables/name/x-health"]
    paths += ["x/health", "variables/name/health", "health/../admin/settings", "%68ealth/x"]
    for path in paths:
        assert _code(f"{state['prefect']}/{path}") == 401, path
    home = "api/2.0/mlflow/experiments/search?max_results=5"
    for path in (home, "", "ajax-" + home, "x/health", "api/2.0/mlflow/runs/health", "graphql"):
        assert _code(f"{state['mlflow']}/{path}") == 401, path
    program = PROGRAM.replace("SECONDS", "0")
    login = {
        **state["environment"],
        "PREFECT_HOME": str(shell.home.prefect),
        "PREFECT_API_AUTH_STRING": secrets["PREFECT_SERVER_API_AUTH_STRING"],
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": secrets["MLFLOW_AUTH_ADMIN_PASSWORD"],
    }
    assert python(shell, program, **login).wait() == 0
    assert python(shell, RECORD, **login).wait() == 0
    assert _canaries(shell, "canary-") == []
    said = shell.refusal("run", "apo", "-c", str(SMALL))
    assert "set PREFECT_API_AUTH_STRING" in said
    shell("down")


def _code(url: str) -> int:
    try:
        fetch(url, 10.0)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    return 200


def _canaries(shell: Shell, word: str) -> list[str]:
    """Return where a secret is: in files of ours, or in the list of processes."""
    found = [line for line in alive(shell) if word in line]
    for path in shell.folder.rglob("*"):
        if path.is_file() and word.encode() in path.read_bytes():
            found.append(str(path))
    return found


@pytest.mark.slow
def test_both_servers_on_postgres(shell: Shell, postgres: Any, chromium: str) -> None:
    for name in ("prefect", "mlflow"):
        postgres.create(name)
    settings = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("prefect", "postgresql+asyncpg"),
        "MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow"),
    }
    done = shell("up", "--json", **settings)
    state = json.loads(done.stdout)
    assert PASSWORD not in done.stdout + done.stderr
    variables = {**state["environment"], "PREFECT_HOME": str(shell.home.prefect)}
    assert python(shell, PROGRAM.replace("SECONDS", "0"), **variables).wait() == 0
    assert python(shell, RECORD, **variables).wait() == 0
    with browse(chromium, shell.folder / "browser") as browser:
        browser.open(state["prefect"].removesuffix("/api") + "/runs")
        assert "Completed" in browser.wait_for("tiny")
        browser.open(f"{state['mlflow']}/#/experiments/1/runs")
        browser.wait_for("hello")
    assert not (shell.home.prefect / "prefect.db").exists()
    assert not (shell.folder / "mlruns" / "mlflow.db").exists()
    assert _canaries(shell, PASSWORD) == []
    shell("down", **settings)


@pytest.mark.slow
def test_a_wrong_database_password_is_not_repeated(shell: Shell, postgres: Any) -> None:
    wrong = postgres.url("nothing", "postgresql+asyncpg").replace(PASSWORD, "wrong-canary-9")
    said = shell("up", code=1, PREFECT_SERVER_DATABASE_CONNECTION_URL=wrong)
    assert "Prefect server ended" in said.stderr
    assert "wrong-canary-9" not in said.stdout + said.stderr
    assert _canaries(shell, "wrong-canary-9") == []
    assert alive(shell) == [], "MLflow, which did start, is not left behind"


def test_a_login_in_an_address_is_sent_as_one() -> None:
    seen = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Host"], self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.handle_request, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        assert answers(f"http://me:p%40ss@{host}/health", seconds=5.0)
    token = base64.b64encode(b"me:p@ss").decode()
    assert seen == [("/health", host, f"Basic {token}")]
