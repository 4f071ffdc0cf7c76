"""Against a real Prefect server: about twenty seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from flows.servers.prefect_server import prefect_environment
from flows.servers.shared_server import start_prefect_server, stop
from tasks.processes.detached import is_alive
from tasks.processes.ports import free_port
from tasks.settings.errors import ConfigError, StageError
from tasks.storage.home import Home
from tests.databases import Databases
from tests.flows.serving import FOREIGN, code_of
from tests.flows.warm_start import WARM

STARTER = """
import sys, time
from flows.servers.shared_server import start_prefect_server
from tasks.storage.home import current_home
handle = start_prefect_server(current_home())
print(handle.url, handle.pid, handle.started_by_us, flush=True)
time.sleep(600)
"""
TRIVIAL_FLOW = """
from prefect import flow, task
@task
def double(number):
    return 2 * number
@flow(name="trivial")
def trivial():
    return double(21)
assert trivial() == 42
"""


def start_elsewhere(home: Home) -> tuple[subprocess.Popen[str], list[str]]:
    """Start or find the server from another process that stays alive; return what it printed."""
    child = subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPARRING_HOME": str(home.root)},
    )
    assert child.stdout is not None
    return child, child.stdout.readline().split()


def ask(url: str, query: dict[str, object]) -> list[dict[str, object]]:
    request = urllib.request.Request(
        url, json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=10)


@pytest.fixture
def migrated(home: Home, databases: Databases) -> Home:
    """A state folder with an empty database, which a server would otherwise have to make."""
    databases.copy("prefect", home.prefect)
    return home


@pytest.fixture
def clean_up(home: Home):
    """End whatever server a failed test leaves behind."""
    yield
    record = json.loads(home.servers.read_text())["prefect"] if home.servers.exists() else {}
    if record.get("pid") and is_alive(record):
        psutil.Process(record["pid"]).kill()


def test_server_survives_its_run_serves_the_next_and_ends_with_the_last(
    home: Home, clean_up: None, tmp_path: Path
) -> None:
    # As a kill left it, while an older release made it.
    (home.prefect / "prefect.db").write_bytes(b"")
    first, (url, pid_text, started) = start_elsewhere(home)
    pid = int(pid_text)
    assert len(list(home.prefect.glob("prefect.db.damaged-*"))) == 1
    assert not (home.prefect / "prefect.db.making").exists()
    assert started == "True"
    second, printed = start_elsewhere(home)
    assert printed == [url, pid_text, "False"]

    environment = {**os.environ, **prefect_environment(home, url)}
    subprocess.run(
        [WARM.python(), "-c", TRIVIAL_FLOW], env=environment, cwd=tmp_path, check=True, timeout=60
    )
    runs = ask(f"{url}/flow_runs/filter", {})
    assert [run["state_type"] for run in runs] == ["COMPLETED"]
    # Task runs are recorded from events, a moment later.
    deadline = time.monotonic() + 20
    while not (tasks := ask(f"{url}/task_runs/filter", {})) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [task["state_type"] for task in tasks] == ["COMPLETED"]
    assert (home.prefect / "prefect.db").exists()

    for foreign in FOREIGN:
        assert code_of(f"{url}/flow_runs/filter", foreign, b"{}") == 403, foreign
    kill(first)
    handle = start_prefect_server(home)
    assert (handle.url, handle.pid, handle.started_by_us) == (url, pid, False)
    stop(handle)
    assert psutil.pid_exists(pid), "the second run still uses the server"

    kill(second)
    adopted = start_prefect_server(home)
    assert (adopted.pid, adopted.started_by_us) == (pid, True)
    stop(adopted)
    assert not psutil.pid_exists(pid)
    stop(adopted)

    # A new server takes the old address, and still knows the old run.
    again = start_prefect_server(home)
    assert again.url == url and again.pid != pid
    assert len(ask(f"{url}/flow_runs/filter", {})) == 1
    stop(again)


@pytest.mark.slow
def test_its_pages_show_the_run_in_a_browser(
    migrated: Home, clean_up: None, chromium: str, tmp_path: Path
) -> None:
    handle = start_prefect_server(migrated)
    environment = {**os.environ, **prefect_environment(migrated, handle.url)}
    command = [WARM.python(), "-c", TRIVIAL_FLOW]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=60)
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-quic"
    options += " --disable-background-networking --disable-component-update"
    page = subprocess.run(
        [
            chromium,
            *options.split(),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            handle.url.removesuffix("/api") + "/runs",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    stop(handle)
    assert "Can't connect to Server API" not in page
    assert "trivial" in page and "Completed" in page


def test_two_runs_at_once_start_one_server(migrated: Home, clean_up: None) -> None:
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        for _ in range(2)
    ]
    printed = [starter.stdout.readline().split() for starter in starters]
    assert printed[0][:2] == printed[1][:2]
    assert sorted(line[2] for line in printed) == ["False", "True"]
    for starter in starters:
        kill(starter)
    stop(start_prefect_server(migrated))
    assert not psutil.pid_exists(int(printed[0][1]))


class Healthy(BaseHTTPRequestHandler):
    """A server that refuses to let anybody in, as one with a login does."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(401)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_the_users_own_server_is_used_and_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    handle = start_prefect_server(home)
    assert (handle.url, handle.pid, handle.started_by_us) == (url, None, False)
    assert "PREFECT_HOME" not in prefect_environment(home, url)
    stop(handle)
    assert not home.servers.exists()
    server.shutdown()
    server.server_close()


def test_a_users_server_that_does_not_answer_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ConfigError, match=f"PREFECT_API_URL is {url}.*unset"):
        start_prefect_server(home)


def test_a_server_that_cannot_start_shows_its_log(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "nonsense://nowhere")
    waited: list[float] = []
    with pytest.raises(StageError, match="(?s)ended at once.*nonsense"):
        start_prefect_server(home, progress=waited.append)
    assert waited == sorted(waited) and waited
    assert json.loads(home.servers.read_text())["prefect"] == {}


def test_a_server_that_is_too_slow_is_ended(home: Home) -> None:
    before = psutil.Process().children()
    with pytest.raises(StageError, match="did not answer in 0.3 s"):
        start_prefect_server(home, timeout=0.3)
    new = set(psutil.Process().children()) - set(before)
    assert not [child for child in new if "prefect" in " ".join(child.cmdline())]


def test_a_server_that_is_still_starting_is_waited_for(migrated: Home, clean_up: None) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", STARTER], env={**os.environ, "SPARRING_HOME": str(migrated.root)}
    )
    record = migrated.servers
    while not record.is_file() or not json.loads(record.read_text()).get("prefect"):
        time.sleep(0.01)
    first = json.loads(record.read_text())["prefect"]["pid"]
    run.kill()
    run.wait()
    handle = start_prefect_server(migrated)
    assert handle.pid == first
    stop(handle)
    assert not psutil.pid_exists(first)


def test_a_full_disk_leaves_no_server_behind(
    home: Home, clean_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.ensure()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    monkeypatch.setattr("flows.servers.service.write_twice", _full_disk)
    with pytest.raises(OSError, match="full"):
        start_prefect_server(home)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def _full_disk(*_: object) -> None:
    raise OSError("the disk is full")
