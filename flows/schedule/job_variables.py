"""Where the process of a deployed flow starts, and what it finds in its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse

from flows.servers.prefect_server import HEARTBEAT_SECONDS
from tasks.settings.passwords import without_passwords
from tasks.storage.home import current_home

_HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
_OURS = ("SPARRING_REMOTE", "MLFLOW_TRACKING_URI", "SPARRING_HOME", _HEARTBEAT)
"""The variables of a flow's process that we set."""


def job_variables(
    pool: WorkPool, before: DeploymentResponse | None, folder: Path
) -> dict[str, Any]:
    """Return where the flow's process starts and what it finds in its environment.

    Relative paths of the configuration count from that folder. Nothing secret is among them. What
    somebody set beside ours stays.
    """
    kept = dict(before.job_variables) if before else {}
    kept.pop("working_dir", None)
    others = {name: text for name, text in kept.pop("env", {}).items() if name not in _OURS}
    ours = _our_variables(pool, folder)
    return {**kept, **ours, "env": {**others, **ours["env"]}}


def _our_variables(pool: WorkPool, folder: Path) -> dict[str, Any]:
    found = {name: os.environ[name] for name in _OURS[:2] if os.environ.get(name)}
    variables = {name: text for name, text in found.items() if text == without_passwords(text)}
    # How often a run says that it lives; the automation that finds dead ones counts on it.
    variables[_HEARTBEAT] = str(HEARTBEAT_SECONDS)
    if pool.type != "process":
        return {"env": variables}
    if "SPARRING_REMOTE" not in variables:
        # Without a remote the worker must share our store; with one, each has its own.
        variables["SPARRING_HOME"] = str(current_home().root)
    return {"env": variables, "working_dir": str(folder.absolute())}


def pull_steps(pool: WorkPool, folder: Path) -> list[dict[str, Any]]:
    """Return how the code gets to where it runs: it is installed there.

    Without any step a process worker copies its own current folder into that of the flow.
    """
    if pool.type != "process":
        return []
    return [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(folder.absolute())}}
    ]
