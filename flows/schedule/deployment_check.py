"""Which deployments on a Prefect server the installed code can run, and how to mend the others.

A deployment names its flow by module path and holds the parameters that it was registered with.
After an update the module may be elsewhere and a parameter may be gone: the next scheduled run
would fail on a worker, where nobody looks.
"""

from __future__ import annotations

import shlex
from importlib import import_module
from typing import NamedTuple

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.callables import parameter_schema

from flows.registry import FLOWS
from flows.schedule.deployments import NAME, POOL
from tasks.settings.errors import ConfigError
from tasks.settings.loading import validate

_PAGE = 200


class CheckedDeployment(NamedTuple):
    """A deployment of ours, and whether the installed code can run it."""

    deployment: str
    """Its name as Prefect shows it, `FLOW/NAME`."""
    entrypoint: str
    """The module path by which a worker finds the flow."""
    problem: str
    """Why the installed code cannot run it; empty if it can."""
    remedy: str
    """The command that mends it; empty if nothing is wrong."""

    @property
    def sentence(self) -> str:
        """What it is and what to do, for people."""
        if not self.problem:
            return f"{self.deployment} can be run"
        return f"{self.deployment} cannot be run: {self.problem}; `{self.remedy}` mends it"


def check_deployments(flow: str | None = None) -> list[CheckedDeployment]:
    """Check every deployment of ours on the Prefect server that is used now.

    Ours are those whose entry point lies in this package; nothing else is imported. With `flow`
    only those of that flow are checked.
    """
    with get_client(sync_client=True) as client:
        found = [(one, client.read_flow(one.flow_id).name) for one in our_deployments(client)]
    return sorted(_check(one, name) for one, name in found if flow in (None, name))


def our_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Return the deployments whose entry point is a module of this package."""
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(limit=_PAGE, offset=len(found)):
        found += page
    return [one for one in found if _module_path(one).startswith("flows.")]


def _module_path(deployment: DeploymentResponse) -> str:
    """Return the entry point by module; `prefect deploy` also takes one by file, `a/b.py:flow`."""
    return (deployment.entrypoint or "").replace(".py:", ".").replace("/", ".")


def _check(deployment: DeploymentResponse, flow: str) -> CheckedDeployment:
    """Compare one deployment with the installed code."""
    name, problem = f"{flow}/{deployment.name}", _problem(deployment, flow)
    remedy = _remedy(deployment, flow, name) if problem else ""
    return CheckedDeployment(name, deployment.entrypoint or "", problem, remedy)


def _problem(deployment: DeploymentResponse, flow: str) -> str:
    """Say why a worker could not run a deployment, or return an empty text."""
    module, _, name = _module_path(deployment).rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        return f"its entry point {deployment.entrypoint} is gone ({error})"
    if not isinstance(found, Flow):
        return f"its entry point {deployment.entrypoint} is no flow"
    known = parameter_schema(found).properties
    registered = (deployment.parameter_openapi_schema or {}).get("properties", {})
    if unknown := sorted({*deployment.parameters, *registered} - set(known)):
        return f"the flow has no parameter {', '.join(unknown)}"
    if flow not in FLOWS or "config" not in deployment.parameters:
        return ""  # each run is given its own
    try:
        validate(FLOWS[flow].config_class(), deployment.parameters["config"], "config")
    except ConfigError as error:
        first, *others = str(error).splitlines()
        return f"{first} (and {len(others)} more)" if others else first
    return ""


def _remedy(deployment: DeploymentResponse, flow: str, name: str) -> str:
    """Return the command that mends a deployment."""
    if flow not in FLOWS:
        # A run that places stages makes the deployment of their pool again.
        return f"prefect deployment delete {shlex.quote(name)}"
    words = ["sparring", "deploy", flow, "-c", "FILE"]
    for option, given, default in (
        ("--name", deployment.name, NAME),
        ("--pool", deployment.work_pool_name, POOL),
    ):
        words += [option, shlex.quote(given)] if given not in (None, default) else []
    return " ".join(words)
