"""The bridge to Prefect; the only file in a folder of tasks that imports it.

Inside a Prefect flow a stage call is a Prefect task run: named `stage · label`, ending in the state
Cached, Completed, Waiting, Interrupted or Failed as it really was. Prefect gets small references
and never keeps a result: whether a stage is done is decided by its manifest alone. Outside a flow,
in planning mode and in tests, the stage is simply called and Prefect is not imported.
"""

from __future__ import annotations

import errno
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from tasks.stages.artifact import Artifact
from tasks.stages.call import MODEL_STAGES, Body, StageCall, StageSpec
from tasks.stages.runs.context import Listener, StageRecord, current_run
from tasks.stages.stage import call_stage

_RETRY_SECONDS: list[float] = [2, 10, 30]
_PROGRESS_SECONDS = 5.0
_TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN EINTR EBUSY ESTALE ETIMEDOUT ECONNRESET ECONNREFUSED ECONNABORTED EPIPE "
        "EHOSTUNREACH ENETUNREACH ENETDOWN ENETRESET"
    ).split()
)


def stage_task(
    version: int,
    resources: Literal["cpu", "gpu", "people"] = "cpu",
    produces: Literal["policy", "reward_model"] | None = None,
) -> Callable[[Body], StageTask]:
    """Make a function a stage.

    Args:
        version: The stage's version; raise it by one whenever the body changes meaning.
        resources: What the stage wants to run on; one that asks people runs in the flow's process.
        produces: Kind of model that comes out, if one does; MLflow registers it.

    Returns:
        A decorator. The stage is called with the function's own arguments, without `workspace`
        and `log`, and with an optional `label`; it returns the output's `Artifact`.
    """

    def wrap(body: Body) -> StageTask:
        if produces is not None:
            MODEL_STAGES[body.__name__] = produces
        return StageTask(StageSpec(body.__name__, version, resources, body, produces))

    return wrap


class StageTask:
    """A stage that can be called.

    Attributes:
        spec: Name, version, resources and body of the stage.
    """

    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        functools.update_wrapper(self, spec.body)

    def __call__(self, *args: Any, label: str = "", **kwargs: Any) -> Artifact:
        """Return the stage's artifact, doing the work only if it is not done.

        Raises:
            TypeError: For a missing, unknown or unsuitable argument, naming it.
        """
        return run_call(self.spec.bind(args, kwargs, label))


def run_call(call: StageCall) -> Artifact:
    """Return the artifact of a call: as a Prefect task run inside a Prefect flow, else plainly."""
    if current_run().mode == "plan" or call.is_pending or not _is_in_flow():
        return call_stage(call)[0]
    return _run_as_task(call)


def is_transient(error: BaseException) -> bool:
    """Tell whether an error may pass by itself: a lost connection may, a full disk may not."""
    return isinstance(error, OSError) and (
        error.errno in _TRANSIENT or isinstance(error, (ConnectionError, TimeoutError))
    )


def _is_in_flow() -> bool:
    """Tell whether this call is made inside a Prefect flow run."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def _run_as_task(call: StageCall) -> Artifact:
    """Run a stage call as a Prefect task run of this flow run."""
    from prefect import Task
    from prefect.cache_policies import NO_CACHE
    from prefect.client.schemas.objects import TaskRunResult
    from prefect.context import TaskRunContext
    from prefect.exceptions import TerminationSignal
    from prefect.states import Cancelled, Completed, Paused
    from prefect.task_engine import run_task

    known = current_run().task_runs
    results: list[Artifact | BaseException] = []

    # Every parameter is shown on the task run's page.
    def run_stage(
        stage: str, label: str, key: str, inputs: dict[str, str], seed: int | None
    ) -> object:
        if context := TaskRunContext.get():
            known.setdefault(call.key, context.task_run.id)
        try:
            artifact, record = _call_where_it_belongs(call, _progress_listener(call.title))
        except (KeyboardInterrupt, TerminationSignal) as stop:
            # Raised through Prefect it would be a crash.
            results.append(stop)
            return Cancelled(name="Interrupted", message=str(stop))
        results.append(artifact)
        if record.state == "waiting":
            return Paused(name="Waiting", message=record.error)
        message = f"{record.digest} in {record.seconds:.1f} s"
        return Completed(name="Cached" if record.state == "cached" else None, message=message)

    prefect_task = Task(
        run_stage,
        name=call.spec.name,
        description=call.spec.body.__doc__,
        task_run_name=call.title.replace("{", "(").replace("}", ")"),
        tags=[call.spec.resources],
        version=str(call.spec.version),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(_RETRY_SECONDS),
        retry_delay_seconds=_RETRY_SECONDS,
        retry_condition_fn=_may_retry,
    )
    parameters = {
        "stage": call.spec.name,
        "label": call.label,
        "key": call.key,
        "inputs": {role: artifact.digest for role, artifact in call.inputs.items()},
        "seed": call.seed,
    }
    # By these the page draws an edge from each stage whose output goes in.
    made = {known[one.key] for one in call.inputs.values() if one.key in known}
    before: dict[str, set[Any]] = {"inputs": {TaskRunResult(id=task_run) for task_run in made}}
    run_task(prefect_task, parameters=parameters, dependencies=before)
    if isinstance(results[-1], BaseException):
        raise results[-1]
    return results[-1]


def _call_where_it_belongs(call: StageCall, listener: Listener) -> tuple[Artifact, StageRecord]:
    """Call a stage here, or on the worker pool that the run's config names for it."""
    dispatch = current_run().dispatch
    if dispatch is None or not dispatch.takes(call):
        return call_stage(call, listener)
    return dispatch(call, listener)


def _may_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Let Prefect try again only after an error that trying again may mend."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


def _progress_listener(title: str) -> Listener:
    """Return a listener that shows progress on the flow run's page, every few seconds."""
    from prefect import artifacts

    shown: list[Any] = []
    last = [time.monotonic()]

    def show(done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if (
            total <= 0
            or (now - last[0] < _PROGRESS_SECONDS and done < total)
            or (done >= total and not shown)
        ):
            return
        last[0] = now
        share = min(100.0, 100.0 * done / total)
        try:
            if shown:
                artifacts.update_progress_artifact(artifact_id=shown[0], progress=share)
            else:
                what = f"{title}: {total} {unit}"
                shown.append(artifacts.create_progress_artifact(progress=share, description=what))
        except Exception:  # a page that cannot be drawn never stops the work
            last[0] = now + 60.0

    return show
