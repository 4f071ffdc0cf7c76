"""`sparring deploy`: registers on a server that stays, again and again the same."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.servers.shared_server import start_prefect_server, stop
from tests.flows.command import SMALL, Shell, sets
from tests.flows.scheduling import RECURRING


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a Prefect server."""
    os.environ.pop("PREFECT_API_URL", None)
    shell = Shell(tmp_path_factory.mktemp("deploy"))
    handle = start_prefect_server(shell.home)
    try:
        yield shell
    finally:
        stop(handle)


def deploy(shell: Shell, *words: str) -> dict[str, Any]:
    (told,) = shell.json("deploy", "apo", "-c", str(RECURRING), *words)
    return dict(told)


def ask(shell: Shell, path: str, body: Any = None) -> Any:
    url = json.loads(shell.home.servers.read_text())["prefect"]["url"]
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def test_deploying_twice_changes_and_adds_nothing(server: Shell) -> None:
    first = deploy(server, "--create-pool")
    assert first["created"] and first["deployment"] == "apo/recurring"
    assert [date[11:19] for date in first["next"]] == 3 * ["03:00:00"]
    second = deploy(server, "--cron", "30 4 * * *", "--timezone", "Europe/Zurich")
    assert not second["created"] and second["id"] == first["id"]
    found = ask(server, f"deployments/{first['id']}")
    (schedule,) = found["schedules"]
    assert schedule["schedule"]["cron"] == "30 4 * * *" and schedule["active"]
    assert schedule["schedule"]["timezone"] == "Europe/Zurich"
    assert found["entrypoint"] == "flows.apo.apo" and found["enforce_parameter_schema"]
    assert found["parameters"]["config"]["schedule"]["cron"] == "30 4 * * *"
    assert found["job_variables"]["working_dir"] == str(server.folder)
    assert len(ask(server, "deployments/filter", {})) == 1
    help_text = json.dumps(found["parameter_openapi_schema"])
    assert "Outer rounds of the game" in help_text, "the form has each field's docstring"


def test_deploying_does_not_wake_what_somebody_paused(server: Shell) -> None:
    assert deploy(server, "--create-pool", "--pause")["paused"]
    told = deploy(server)
    assert told["paused"] and told["next"] == []
    assert not deploy(server, "--no-pause")["paused"]


def test_no_schedule_means_only_when_asked(server: Shell) -> None:
    words = ("-c", str(SMALL), "--name", "by-hand", "--create-pool")
    (told,) = server.json("deploy", "apo", *words)
    assert told["cron"] == "" and ask(server, f"deployments/{told['id']}")["schedules"] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--pool", "gpus"), "there is no work pool 'gpus'"),
        (("--cron", "61 3 * * *"), "schedule.cron: got '61 3 * * *'; '61' is no minute"),
        (("--cron", "0 0 31 2 *"), "schedule.cron '0 0 31 2 *'"),
        (("--timezone", "Mars"), "schedule.timezone: got 'Mars'; there is no time zone 'Mars'"),
        (tuple(sets("gate.tester=RM_None")), "gate.tester is 'RM_None'"),
    ],
)
def test_what_cannot_be_deployed_is_refused(
    server: Shell, words: tuple[str, ...], problem: str
) -> None:
    assert problem in server.refusal("deploy", "apo", "-c", str(RECURRING), *words)


def test_without_a_server_it_says_how_to_start_one(fresh: Shell) -> None:
    assert "`sparring up`" in fresh.refusal("deploy", "apo", "-c", str(RECURRING))
    nowhere = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    text = fresh.refusal("deploy", "apo", "-c", str(RECURRING), **nowhere)
    assert "nothing answers at the Prefect server http://127.0.0.1:9/api" in text


def test_without_a_flow_those_with_a_schedule_are_meant(fresh: Shell) -> None:
    assert "no flow has a schedule" in fresh.refusal("deploy")
    assert "--config belongs to one flow" in fresh.refusal("deploy", "-c", str(Path(RECURRING)))
