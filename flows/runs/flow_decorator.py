"""Makes a function of one configuration a Prefect flow that always runs inside a Sparring run.

The CLI opens the run itself; a flow that Prefect starts (a deployment, a retry in its UI) opens its
own, so both leave the same records.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow
from prefect.context import FlowRunContext

from flows.configs.recurring import flow_name
from flows.placement.dispatcher import placed
from flows.runs.budget import within_budget
from flows.runs.prefect_pages import PageLog, name_flow_run, show_report
from flows.runs.preflight import check_gpus
from flows.runs.stopping import (
    close_waiting,
    say_why_it_stopped,
    stoppable,
    wait_for_people,
)
from flows.schedule.notification import tell, tell_of_disk, telling_failure
from flows.schedule.scheduled_run import is_scheduled, run_scheduled
from flows.servers.dead_runs import close_dead_runs, set_heartbeat
from flows.steps.hub_commits import pinned
from flows.trend.tick import Tick, end_tick, weigh_offer
from tasks.settings.base import FrozenConfig
from tasks.settings.loading import dump_config
from tasks.stages.artifact import Artifact
from tasks.stages.flow_run import open_run
from tasks.stages.lineage.offers import keep_offer, make_candidate
from tasks.stages.lineage.run_report import save_run_report
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.aliases import AliasRecord
from tasks.stages.runs.context import RunContext, current_run, noting_failure
from tasks.stages.runs.run_names import name_outputs
from tasks.stages.runs.run_store import list_runs, load_run, save_prefect_run
from tasks.stages.runs.tracking_events import log_result
from tasks.storage.files import read_json
from tasks.storage.home import Home

Body = Callable[[Any], Artifact]

set_heartbeat()


def sparring_flow(body: Body) -> Flow[..., Artifact]:
    """Return the Prefect flow of a body, whose name is the flow's.

    The body takes one frozen config, calls stages and returns the last artifact.
    """

    @functools.wraps(body)
    def within_run(config: FrozenConfig) -> Any:
        run = current_run()
        if run.mode == "plan":
            return body(config)
        with telling_failure(flow_name(body.__name__, config), getattr(config, "notify", None)):
            return perform(run, config)

    def perform(run: RunContext, config: FrozenConfig) -> Any:
        if run.run_id:
            return _recorded(run, config, body=body)
        flow_run = _flow_run()
        if flow_run is not None:
            close_dead_runs(run.home)
        work = functools.partial(_recorded, body=body)
        if is_scheduled(config, flow_run):
            return run_scheduled(flow_name(body.__name__, config), config, flow_run, opened, work)
        config = pinned(config)
        with opened(config, _run_to_go_on_with(run.home)) as run:
            return work(run, config)

    def opened(config: FrozenConfig, resume: str | None) -> AbstractContextManager[RunContext]:
        return open_run(
            flow_name(body.__name__, config),
            config=config.model_dump(mode="json"),
            changed=config.model_dump(mode="json", exclude_defaults=True),
            config_text=dump_config(config),
            resume=resume,
        )

    # Prefect reads the parameter's type from here to draw its form and to check what it is given.
    within_run.__annotations__ = typing.get_type_hints(body)
    signature = inspect.signature(body, eval_str=True)
    within_run.__signature__ = signature  # type: ignore[attr-defined]
    return flow(
        name=body.__name__,
        description=inspect.getdoc(body),
        flow_run_name=_flow_run_name,
        persist_result=False,
        validate_parameters=True,
        on_crashed=[say_why_it_stopped],
    )(within_run)


def _flow_run_name() -> str:
    # One name on Prefect's page, in MLflow and on the command line.
    return current_run().run_id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"


def _run_to_go_on_with(home: Home) -> str | None:
    """Return the run that this Prefect flow run worked on before: Retry in its UI resumes it."""
    flow_run = _flow_run()
    runs = list_runs(home) if flow_run is not None and home.runs.is_dir() else []
    return next((run.id for run in runs if run.prefect_flow_run == str(flow_run.id)), None)


def _flow_run() -> Any:
    """Return Prefect's flow run around this call, or None."""
    context = FlowRunContext.get()
    return context.flow_run if context is not None else None


def _offer(
    run: RunContext, config: Any, draft: AliasRecord | None, flow_run: Any, tick: Tick | None
) -> None:
    """Make what the run offered the candidate, where its kind of run does so, and end its tick."""
    if draft is None:
        return
    if is_scheduled(config, flow_run) or not config.only_scheduled_candidates:
        candidate = make_candidate(run.home, run.spool, draft)
        if tick is not None:
            end_tick(run, config, tick, candidate)
        return
    how = f"`sparring promote {run.run_id}` asks the gate about its models"
    run.progress.note("candidate", f"nobody scheduled this run, so that it makes none: {how}")


def _recorded(run: RunContext, config: Any, *, body: Body) -> Artifact:
    """Run the body; the run knows its Prefect flow run, and both pages of it have the report."""
    flow_run = _flow_run()
    if flow_run is not None:
        run.progress = PageLog(run.progress)
        close_waiting(flow_run, load_run(run.home, run.run_id).prefect_flow_run)
        save_prefect_run(run.home, run.run_id, str(flow_run.id))
        name_flow_run(flow_run, run.run_id)
    notify = getattr(config, "notify", None)
    tell_of_disk(notify, run.home.root)
    check_gpus(config)
    with (
        stoppable(run, flow_run),
        within_budget(run, config, flow_run),
        placed(run, getattr(config, "placement", None)),
    ):
        result, draft, tick = body(config), None, None
        if not result.is_pending:
            draft = keep_offer(run, flow_name(body.__name__, config), result.metrics)
            if is_scheduled(config, flow_run):
                tick = weigh_offer(run, config, flow_run, draft)
    if result.is_pending and flow_run is not None:
        said = "\n".join(record.error for record in run.awaits)
        tell(notify, "waiting", f"the run {run.run_id} waits for people", said)
        wait_for_people(run, flow_run)
    folder = fetch_artifact(result, run.home, run.remote)
    with noting_failure(run, "report", "it does not say whose it is"):
        plain = config.model_dump(mode="json")
        folder = save_run_report(run.home, load_run(run.home, run.run_id), plain, result)
    if run.spool is not None:
        run.spool.files(None, sorted(folder.glob("report.*")))
    page = folder / "report.json"
    log_result(run, result, read_json(page).get("headline", "") if page.is_file() else "")
    if flow_run is not None:
        show_report(folder, body.__name__, run.run_id)
    _offer(run, config, draft, flow_run, tick)
    name_outputs(run.home, run.run_id)
    return result
