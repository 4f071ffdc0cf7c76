"""A scheduled run: one run of a deployed flow, for one period of its schedule.

It claims its period, finds its inputs anew, and trains, or says that there is nothing new. Whoever
repeats one that was killed goes on with its run and the inputs it had found. Where a period waits
for people, the next scheduled run looks whether they have answered, and goes on with it first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import MissingContextError, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.configs.recurring import RecurringConfig, ScheduleConfig
from flows.schedule.notification import tell
from flows.schedule.period_claims import LastCompleted, PeriodClaim, PeriodClaims, Skipped
from flows.schedule.resolution import nothing_new, resolve
from tasks.settings.loading import dump_config
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.references import reference_of, shared_records
from tasks.stages.runs.run_store import Run, run_folder, save_config, save_run
from tasks.stages.runs.states import is_waiting
from tasks.storage.home import Home, current_home

Opener = Callable[[Any, str | None], AbstractContextManager[RunContext]]
"""Opens a run with a configuration; the text is the id of a run to go on with."""
Doer = Callable[[RunContext, Any], Artifact]
"""Does the work of the flow within a run."""


def is_scheduled(config: Any, flow_run: FlowRun | None) -> bool:
    """Whether a flow run belongs to a deployment, and its configuration has a schedule."""
    scheduled = isinstance(config, RecurringConfig) and config.schedule is not None
    return scheduled and flow_run is not None and flow_run.deployment_id is not None


def run_scheduled(
    flow: str, config: Any, flow_run: FlowRun, opened: Opener, work: Doer
) -> Artifact | State[Any]:
    """Run a flow, with its configuration as deployed, for the period that its flow run is due for.

    Returns:
        What the flow returns; or, with nothing to do, the state that says why: Skipped or
        NothingNew, both of type COMPLETED.

    Raises:
        ConfigError: An input, a start model or an alias is missing.
    """
    home = current_home().ensure()
    claims = PeriodClaims(shared_records(home), f"{flow}/{deployment_name(flow_run)}", _is_gone)
    schedule: ScheduleConfig = config.schedule
    wait = say if schedule.catch_up == "all" else None
    try:
        own = claims.period_of(str(flow_run.id)) or period_of(schedule, flow_run)
        for period in dict.fromkeys((claims.waiting_period() or own, own)):
            claim = claims.take(period, str(flow_run.id), wait=wait)
            with _ending_badly(claims, claim):
                result = _work_on(home, flow, config, claims, claim, opened, work)
    except Skipped as reason:
        say(str(reason))
        return Completed(name="Skipped", message=str(reason))
    return result


@contextmanager
def _ending_badly(claims: PeriodClaims, claim: PeriodClaim) -> Iterator[None]:
    """Write down an error, or that people are waited for, as the end of a claim."""
    try:
        yield
    except BaseException as error:
        if is_waiting(error):
            claims.end(claim, "waiting", "it waits for people")
        else:
            claims.end(claim, "failed", f"{type(error).__name__}: {error}")
        raise


def _work_on(
    home: Home,
    flow: str,
    config: Any,
    claims: PeriodClaims,
    claim: PeriodClaim,
    opened: Opener,
    work: Doer,
) -> Artifact | State[Any]:
    """Do the work of a claimed period."""
    last = claims.last_completed(claim)
    kept = claims.resolution(claim.period)
    if kept is None:
        found = resolve(home, flow, config, last)
        if reason := nothing_new(found, last):
            say(reason)
            claims.end(claim, "nothing new", reason)
            _tell_of_nothing_new(flow, config, claims.nothing_new_until(claim), reason)
            return Completed(name="NothingNew", message=reason)
        kept = {**found._asdict(), "config": found.config.model_dump(mode="json")}
        claims.keep_resolution(claim.period, kept)
    # A run that its budget stopped goes on with what is deployed now, which may be more.
    budget = config.budget.model_dump()
    config = type(config).model_validate({**kept["config"], "budget": budget})
    say(f"the scheduled run {claim.period} starts from {_named(kept['used'])}, seed {config.seed}")
    with opened(config, _run_to_resume(home, flow, claims, claim, config)) as run:
        claims.keep_run(claim.period, run.run_id)
        result = work(run, config)
    models = run.offer.models if run.offer else {}
    made = {role: reference_of(model) for role, model in models.items()}
    count = last.count + 1 if last else 1
    completed = LastCompleted(run.run_id, kept["basis"], kept["used"], made, count)
    claims.end(claim, "completed", f"run {run.run_id} trained to its end", completed)
    return result


def _tell_of_nothing_new(flow: str, config: RecurringConfig, times: int, reason: str) -> None:
    """Tell, each so many times in a row, that there was nothing new."""
    if config.notify and times % config.notify.nothing_new_times == 0:
        subject = f"{times} scheduled runs of {flow} in a row found nothing new"
        tell(config.notify, "nothing_new", subject, reason)


def period_of(schedule: ScheduleConfig, flow_run: FlowRun) -> str:
    """Return the period that a flow run works on: its instant of the schedule in UTC, or itself.

    An instant of the schedule is one period however often, late or by whom it is started. A run
    that somebody asked for at another time is a period of its own.

    Raises:
        Skipped: A later period is due as well, and only the latest is to be caught up with.
    """
    due = flow_run.expected_start_time
    due = due.astimezone(UTC) if due else None
    dates = next_instants(schedule, 2, due) if due else []
    if due is None or not dates or dates[0] != due:
        return f"asked-{flow_run.id}"
    if schedule.catch_up == "latest" and len(dates) > 1 and dates[1] <= datetime.now(UTC):
        raise Skipped(
            f"the run due at {due:%Y-%m-%d %H:%M} UTC comes too late: that of "
            f"{dates[1]:%Y-%m-%d %H:%M} is due as well, and takes all that is new "
            "(schedule.catch_up: latest)"
        )
    return f"{due:%Y%m%dT%H%M%SZ}"


def next_instants(
    schedule: ScheduleConfig, count: int, start: datetime | None = None
) -> list[datetime]:
    """Return so many instants of a schedule in UTC, from `start` or now, as Prefect counts them."""
    from prefect.server.schemas.schedules import CronSchedule

    cron = CronSchedule(cron=schedule.cron, timezone=schedule.counting_zone)
    start = start or datetime.now(UTC) + timedelta(seconds=1)

    def ask() -> list[Any]:
        return asyncio.run(cron.get_dates(count, start=start))

    # A flow may run inside an event loop, where another one cannot be started.
    with ThreadPoolExecutor(1) as thread:
        return [date.astimezone(UTC) for date in thread.submit(ask).result()]


def _run_to_resume(
    home: Home, flow: str, claims: PeriodClaims, claim: PeriodClaim, config: Any
) -> str | None:
    """Return the run that worked on this period before; one of another machine goes on here."""
    run = claims.run_of(claim.period)
    folder = run_folder(home, run) if run else None
    if run and folder and not (folder / "run.json").exists():
        save_config(home, run, dump_config(config))
        save_run(home, Run(run, flow, "crashed", "", claim.time, claim.time, claim.owner))
    return run


def deployment_name(flow_run: FlowRun) -> str:
    """Return the name of the deployment that a scheduled flow run belongs to."""
    assert flow_run.deployment_id is not None
    with get_client(sync_client=True) as client:
        return client.read_deployment(flow_run.deployment_id).name


def _is_gone(claim: PeriodClaim) -> bool:
    """Whether Prefect knows that the flow run of a claim on another machine works no more."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(claim.flow_run).state  # type: ignore[arg-type]
        except ObjectNotFound:
            return True
    return state is None or not (state.is_running() or state.is_cancelling())


def _named(used: dict[str, str | None]) -> str:
    """Say which models a run starts from."""
    return ", ".join(f"{role} {reference or 'base'}" for role, reference in used.items())


def say(text: str) -> None:
    """Write a line that stands on the flow run's page."""
    try:
        get_run_logger().info(text)
    except MissingContextError:
        logging.getLogger("sparring.flows").info(text)
