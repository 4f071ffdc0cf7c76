"""The end of a scheduled run: it is measured by the yardstick, and the gate is asked, if so set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any, NamedTuple

from prefect.client.schemas.objects import FlowRun

from flows.configs.recurring import NotifyConfig
from flows.schedule.champion_gate import crown, gather_evidence, tell_decision
from flows.schedule.notification import tell
from flows.schedule.period_claims import safe_name
from flows.schedule.scheduled_run import deployment_name, say
from flows.trend.trend_page import write_page
from flows.trend.yardstick import measure_tick, series_of
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.bans import why_barred
from tasks.stages.retention.yardsticks import TickRow, TrendRecords
from tasks.stages.runs.aliases import CHAMPION, AliasRecord, current_alias
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.run_store import run_folder


class Tick(NamedTuple):
    """What a scheduled run found out about what it offers."""

    deployment: str
    """`FLOW/NAME`."""
    row: TickRow | None
    """What was measured by the yardstick; None without one."""
    decision: Artifact | None
    """What the gate says; None where nobody asked it, or the models are barred."""
    barred: str
    """Why the gate was not asked although it should be; else empty."""
    champion: int
    """Number of the champion's record that the gate compared with; 0 for none."""
    before: str = ""
    """The run by which these models are the champion already; else empty, as they are mostly."""


def weigh_offer(
    run: RunContext, config: Any, flow_run: FlowRun, draft: AliasRecord | None
) -> Tick | None:
    """Measure what a scheduled run offers, and ask the gate, where the configuration says so.

    Raises:
        ConfigError: Something that it is measured by is gone.
    """
    yardstick = getattr(getattr(config, "evaluation", None), "yardstick", None)
    asks = config.schedule.promote == "gate"
    if draft is None or not (yardstick or asks):
        return None
    deployment, row = f"{draft.flow}/{deployment_name(flow_run)}", None
    if yardstick:
        records = TrendRecords(run.home, safe_name(deployment))
        series = series_of(run, records, deployment, yardstick, draft)
        row = measure_tick(run, series, draft, _due(flow_run))
    decision, champion = None, current_alias(run.home, draft.flow, CHAMPION)
    barred = why_barred(run.home, draft.models) or "" if asks else ""
    # A run that was killed behind its promotion must not be held against itself.
    before = champion.run if asks and champion and champion.models == draft.models else ""
    if asks and not barred and not before:
        decision = gather_evidence(run.home, draft, champion, config.gate)
    return Tick(deployment, row, decision, barred, champion.number if champion else 0, before)


def end_tick(run: RunContext, config: Any, tick: Tick, candidate: AliasRecord) -> None:
    """Promote or refuse the candidate, write its row down, show the page, and tell of falls."""
    said = _decide(run, tick, candidate)
    if tick.row is None:
        return
    records = TrendRecords(run.home, safe_name(tick.deployment))
    records.add_row(replace(tick.row, gate=said))
    rows = records.rows()
    folder = run_folder(run.home, run.run_id) / "trend"
    paths = write_page(tick.deployment, records.series(), rows, folder)
    if run.spool is not None:
        run.spool.files(None, [path for path in paths if path.suffix in (".html", ".svg", ".json")])
        own = {f"trend/{name}": value for name, value in tick.row.metrics.items()}
        run.spool.metrics("", own, step=len(rows), attempt=1)
    tell_of_falls(config.notify, tick.deployment, rows)


def tell_of_falls(notify: NotifyConfig | None, deployment: str, rows: list[TickRow]) -> None:
    """Tell, each so many times in a row, that the win rate of the newest series falls."""
    falls = falls_in_a_row(rows)
    if notify and falls and falls % notify.falling_times == 0:
        rates = [row.metrics["win_rate"] for row in rows[-falls - 1 :]]
        text = f"{' → '.join(f'{rate:.3f}' for rate in rates)}; `sparring trend` shows all"
        subject = f"the win rate of {deployment} fell {falls} times in a row"
        tell(notify, "falling", subject, text)


def falls_in_a_row(rows: list[TickRow]) -> int:
    """Return how many of the newest rows of one series each won less than the one before."""
    falls = 0
    for now, before in zip(reversed(rows), reversed(rows[:-1]), strict=False):
        if now.series != before.series or now.metrics["win_rate"] >= before.metrics["win_rate"]:
            break
        falls += 1
    return falls


def _decide(run: RunContext, tick: Tick, candidate: AliasRecord) -> str:
    """Do what the gate says and say it where the run is looked at; empty where nobody asked."""
    holds = tick.before == candidate.run
    if tick.barred:
        say(f"{candidate.run} is not promoted: {tick.barred}")
    elif tick.before and not holds:
        say(f"what {candidate.run} offers is the champion already, by {tick.before}")
        return ""
    elif tick.decision is not None:
        holds = bool(tick.decision.metrics["holds"])
        if holds:
            crown(run, candidate, tick.decision, tick.champion)
        done = "promoted: the gate holds" if holds else "refused by the gate, and stays a candidate"
        say(f"{candidate.run} was {done}")
    elif not holds:
        return ""
    tell_decision(candidate, run.run_id, holds=holds)
    said = "promoted" if holds else "refused"
    if run.spool is not None:
        run.spool.tags(None, {"sparring.gate": said})
    run.progress.note("gate", f"{candidate.run}: {said}")
    return said


def _due(flow_run: FlowRun) -> str:
    due = flow_run.expected_start_time
    return due.astimezone(UTC).isoformat(timespec="seconds") if due else ""
