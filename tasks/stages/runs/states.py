"""The states of a run, and how Prefect and MLflow say them; `status` and `ls` say our own word.

The page `docs/reference/states.md` has the same table; a test compares them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

RunStatus = Literal[
    "running", "completed", "waiting", "interrupted", "cancelled", "suspended", "failed", "crashed"
]


class SaidAs(NamedTuple):
    """How the servers say one state."""

    prefect: str
    """Name of the flow run's state."""
    type: str
    """Prefect's type of that state."""
    mlflow: str
    """Status of the MLflow run; its tag `sparring.state` has our own word."""


STATES: dict[RunStatus, SaidAs] = {
    "running": SaidAs("Running", "RUNNING", "RUNNING"),
    "completed": SaidAs("Completed", "COMPLETED", "FINISHED"),
    "waiting": SaidAs("Waiting", "PAUSED", "SCHEDULED"),
    "interrupted": SaidAs("Interrupted", "CANCELLED", "KILLED"),
    "cancelled": SaidAs("Cancelled", "CANCELLED", "KILLED"),
    "suspended": SaidAs("Suspended", "PAUSED", "KILLED"),
    "failed": SaidAs("Failed", "FAILED", "FAILED"),
    "crashed": SaidAs("Crashed", "CRASHED", "KILLED"),
}
"""By our own word. `waiting` goes on once people have answered; `interrupted` was told to stop by a
signal, `cancelled` and `suspended` on Prefect's page; `failed` has an error, `crashed` died without
a word. All but `completed` can be resumed."""
PROMOTION = "promotion"
"""Name of the flow that decides about a candidate."""
JUDGE = "judge"
"""Name of the flow that compares the answers of two sides."""
WEIGHING = (PROMOTION, JUDGE)
"""Flows that weigh models and make none: `latest` means no finished run of one."""
STOPPED: tuple[RunStatus, ...] = ("interrupted", "cancelled", "suspended")
"""States of what was told to stop, by whomever, and saved how far it was."""


def flow_in_project(flow: str, project: str | None) -> str:
    """Return what a flow's runs, aliases and experiment are named by: itself, or `PROJECT.FLOW`.

    Example:
        >>> flow_in_project("apo", "search"), flow_in_project("apo", None)
        ('search.apo', 'apo')
    """
    return f"{project}.{flow}" if project else flow


def project_of(flow: str) -> tuple[str, str]:
    """Return the project, empty for none, and the flow of what `flow_in_project` returned.

    Example:
        >>> project_of("search.apo"), project_of("apo")
        (('search', 'apo'), ('', 'apo'))
    """
    project, _, name = flow.rpartition(".")
    return project, name


def is_waiting(error: BaseException) -> bool:
    """Whether an error is Prefect's signal that ends a flow run which waits for people."""
    state = getattr(error, "state", None)
    return state is not None and getattr(state, "name", "") == STATES["waiting"].prefect
