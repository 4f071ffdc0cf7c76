"""The compose file: what Docker would read, checked without Docker."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.infra.reading import INFRA, SECRETS, compose, variables_of

TEXT = (INFRA / "compose.yaml").read_text("utf-8")


class Part(BaseModel):
    """A part of the compose specification, as far as the file uses it; anything else is wrong."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Build(Part):
    context: str
    dockerfile: str
    target: str


class Healthcheck(Part):
    test: list[str] = Field(min_length=2)
    interval: str = Field(pattern=r"^\d+s$")
    timeout: str = Field(pattern=r"^\d+s$")
    retries: int = 3
    start_period: str = "0s"


class Dependency(Part):
    condition: Literal["service_healthy", "service_completed_successfully", "service_started"]


class Mounted(Part):
    source: str
    target: str


class Device(Part):
    driver: str
    count: int
    capabilities: list[str]


class Reservations(Part):
    devices: list[Device]


class Resources(Part):
    reservations: Reservations


class Deploy(Part):
    resources: Resources


class Service(Part):
    image: str = Field(pattern=r"^[\w./-]+:[\w.-]+$")
    build: Build | None = None
    restart: Literal["no", "unless-stopped"]
    environment: dict[str, str] = {}
    command: list[str] = []
    configs: list[Mounted] = []
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    profiles: list[str] = []
    deploy: Deploy | None = None
    stop_grace_period: str = "10s"
    shm_size: str = "64mb"


class Content(Part):
    content: str


class Compose(Part):
    name: str
    services: dict[str, Service]
    configs: dict[str, Content]
    volumes: dict[str, None]


def read(variables: dict[str, str]) -> Compose:
    tree = compose(variables)
    return Compose.model_validate({k: v for k, v in tree.items() if not k.startswith("x-")})


@pytest.fixture
def whole() -> Compose:
    return read(SECRETS)


def test_it_holds_the_services_of_a_cluster(whole: Compose) -> None:
    assert set(whole.services) == {
        "postgres", "object-store", "bucket", "prefect", "mlflow", "worker-cpu", "worker-gpu",
    }  # fmt: skip


def test_a_misspelt_key_is_found() -> None:
    tree = compose(SECRETS)
    tree["services"]["prefect"]["enviroment"] = {}
    with pytest.raises(ValidationError, match="enviroment"):
        Compose.model_validate({k: v for k, v in tree.items() if not k.startswith("x-")})


def test_everything_it_refers_to_is_there(whole: Compose) -> None:
    dockerfile = (INFRA / "Dockerfile").read_text("utf-8")
    for name, service in whole.services.items():
        assert service.depends_on.keys() <= whole.services.keys(), name
        assert {one.source for one in service.configs} <= whole.configs.keys(), name
        assert {one.partition(":")[0] for one in service.volumes} <= whole.volumes.keys(), name
        if service.build:
            assert (INFRA / service.build.context / service.build.dockerfile).is_file()
            assert re.search(rf"^FROM \S+ AS {service.build.target}$", dockerfile, re.MULTILINE)
        for other, dependency in service.depends_on.items():
            healthy = dependency.condition == "service_healthy"
            assert (whole.services[other].healthcheck is not None) == healthy, (name, other)


def test_what_stays_up_is_checked_and_only_loopback_ports_are_published(whole: Compose) -> None:
    for name, service in whole.services.items():
        assert (service.restart == "no") == (service.healthcheck is None), name
        assert all(port.startswith("127.0.0.1:") for port in service.ports), name


def test_the_variables_are_those_of_the_example_and_must_be_set() -> None:
    example = (INFRA / "example.env").read_text("utf-8")
    named = dict(line.split("=", 1) for line in example.splitlines() if "=" in line)
    assert named.keys() == variables_of(TEXT) == SECRETS.keys()
    assert set(named.values()) == {""}
    for name in named:
        assert f"${{{name}:?" in TEXT, f"{name} may be forgotten"


def test_no_secret_is_written_in_it(whole: Compose) -> None:
    for service in whole.services.values():
        for name, value in service.environment.items():
            if re.search("PASSWORD|SECRET|AUTH|ACCESS_KEY", name):
                assert value in SECRETS.values(), name
    # A secret is nowhere on a command line, where every process of the machine sees it.
    said = json.dumps([service.command for service in whole.services.values()])
    assert not [value for value in SECRETS.values() if value in said]


def test_the_object_stores_users_are_json(whole: Compose) -> None:
    (user,) = json.loads(whole.configs["s3-users"].content)["identities"]
    assert user["credentials"] == [
        {"accessKey": SECRETS["S3_ACCESS_KEY"], "secretKey": SECRETS["S3_SECRET_KEY"]}
    ]


def test_the_gpu_worker_takes_as_many_runs_as_it_has_gpus(whole: Compose) -> None:
    worker = whole.services["worker-gpu"]
    assert worker.deploy and worker.profiles == ["gpu"]
    (device,) = worker.deploy.resources.reservations.devices
    assert worker.command[worker.command.index("--limit") + 1] == str(device.count)


def test_servers_and_clients_agree(whole: Compose) -> None:
    environment: dict[str, Any] = {n: s.environment for n, s in whole.services.items()}
    client = environment["worker-gpu"]
    assert client == environment["worker-cpu"]
    assert (
        client["PREFECT_API_AUTH_STRING"]
        == environment["prefect"]["PREFECT_SERVER_API_AUTH_STRING"]
    )
    assert client["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert "mlflow:5000" in environment["mlflow"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert client["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert client["SPARRING_REMOTE"].startswith("s3://sparring/")
    assert environment["mlflow"]["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://sparring/")
