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
from tests.databases import Databases
from tests.flows.command import SMALL, Shell, sets
from tests.flows.scheduling import RECURRING


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Shell]:
    """A folder with a Prefect server."""
    os.environ.pop("PREFECT_API_URL", None)
    shell = Shell(tmp_path_factory.mktemp("deploy"))
    databases.copy("prefect", shell.home.prefect)
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
    done = [one for one in server.json("ls", "operations") if one["verb"] == "deploy"]
    assert "30 4 * * * (Europe/Zurich)" in done[0]["what"] and "@" in done[0]["who"]
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


def deployed(shell: Shell, name: str) -> dict[str, Any]:
    return dict(ask(shell, f"deployments/name/apo/{name}"))


def test_another_configuration_is_refused_without_replace(server: Shell) -> None:
    deploy(server, "--name", "kept", "--create-pool")
    said = server("deploy", "apo", "--name", "kept", code=2).stderr
    assert "its schedule 0 3 * * * (UTC)" in said and "name its configuration with -c" in said
    (told,) = server.json("deploy", "apo", "--name", "kept", "--replace")
    assert told["cron"] == ""


def register(shell: Shell, flow: str, name: str, **values: Any) -> None:
    """Register a deployment as an earlier release, or somebody else, would have."""
    flow_id = ask(shell, "flows/", {"name": flow})["id"]
    ask(shell, "deployments/", {"name": name, "flow_id": flow_id, **values})


def test_what_the_installed_code_cannot_run_is_named_with_the_command_that_mends_it(
    server: Shell,
) -> None:
    deploy(server, "--create-pool", "--name", "good")
    assert {one["problem"] for one in server.json("deploy", "--all", "--check")} == {""}
    config = ask(server, "deployments/name/apo/good")["parameters"]["config"]
    register(server, "placed-stage", "gpu", entrypoint="flows.placed_stage.placed_stage")
    renamed = {"config": {**config, "adversary": True}}
    register(server, "apo", "key", entrypoint="flows.apo.apo", parameters=renamed)
    register(server, "apo", "argument", entrypoint="flows.apo.apo", parameters={"settings": {}})
    register(server, "apo", "function", entrypoint="flows.apo.run", parameters=renamed)
    register(server, "apo", "file", entrypoint="flows/apo.py:apo", parameters=renamed)
    register(server, "apo", "by-hand", entrypoint="flows/apo.py:apo")
    register(server, "theirs", "other", entrypoint="theirs.flow.run", parameters={"x": 1})

    done = server("deploy", "--all", "--check", "--json", code=3)
    checked = {one["deployment"]: one for one in json.loads(done.stdout)}
    broken = {name: (one["problem"], one["remedy"]) for name, one in checked.items()}
    assert broken["apo/good"] == ("", "") and "theirs/other" not in checked
    problem, remedy = broken["placed-stage/gpu"]
    assert "entry point flows.placed_stage.placed_stage is gone (No module named" in problem
    assert remedy == "prefect deployment delete placed-stage/gpu"
    problem, remedy = broken["apo/key"]
    assert "config.adversary" in problem or "'adversary'" in problem, problem
    assert "did you mean 'adversarial'" in problem
    assert remedy == "sparring deploy apo -c FILE --name key"
    assert broken["apo/by-hand"] == ("", ""), "each run is given its configuration"
    assert broken["apo/file"][0] == broken["apo/key"][0]
    assert broken["apo/argument"][0] == "the flow has no parameter settings"
    assert "is gone (module 'flows.apo' has no attribute 'run')" in broken["apo/function"][0]
    assert "cannot run 5 of " in done.stderr and "placed-stage/gpu" in done.stderr

    said = server("deploy", "apo", "--check", code=3).stdout
    assert "apo/good can be run\n" in said and "placed-stage" not in said
    assert "apo/key cannot be run: " in said
    # Done as it says, it is mended.
    deploy(server, "--name", "key")
    assert "apo/key can be run\n" in server("deploy", "apo", "--check", code=3).stdout


def test_a_check_of_all_or_of_one(fresh: Shell) -> None:
    assert "not both" in fresh.refusal("deploy", "apo", "--all")
    assert "there is no flow 'apoo'" in fresh.refusal("deploy", "apoo", "--check")
    assert "`sparring up`" in fresh.refusal("deploy", "--all", "--check")


def test_without_a_server_it_says_how_to_start_one(fresh: Shell) -> None:
    assert "`sparring up`" in fresh.refusal("deploy", "apo", "-c", str(RECURRING))
    nowhere = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    text = fresh.refusal("deploy", "apo", "-c", str(RECURRING), **nowhere)
    assert "nothing answers at the Prefect server http://127.0.0.1:9/api" in text


def test_without_a_flow_those_with_a_schedule_are_meant(fresh: Shell) -> None:
    assert "no flow has a schedule" in fresh.refusal("deploy")
    assert "--config belongs to one flow" in fresh.refusal("deploy", "-c", str(Path(RECURRING)))
