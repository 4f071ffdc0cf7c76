"""What the verbs deploy, promote and demote do and print; Prefect is imported when needed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.configs.base import FlowConfig
from flows.registry import FLOWS, PROMOTION, FlowEntry, find_config, find_flow, read_config
from flows.runs.runner import quiet_prefect, run_flow
from flows.runs.terminal import table
from flows.servers.prefect_server import prefect_environment
from flows.servers.service import answers, read_record
from tasks.evaluation.config import GateConfig
from tasks.processes.detached import is_alive
from tasks.settings.errors import ConfigError, GateRefused
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.artifact import Artifact
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.aliases import CHAMPION, current_alias, tell_alias
from tasks.storage.files import read_json
from tasks.storage.home import Home, current_home
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.spool import Spool


def deploy_flows(
    flow: str | None,
    config: Path | None,
    overrides: Sequence[str],
    wish: tuple[Any, ...],
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Register one flow, or each whose default config has a schedule.

    Args:
        flow: its name, or None for all.
        config: its YAML file.
        overrides: `a.b=c` each.
        wish: the fields of `flows.schedule.deployments.Wish`.
        console: where the result goes.
        as_json: print JSON.

    Raises:
        ConfigError: no server, no such pool, or nothing to register.
    """
    wanted = _wanted(flow, config, overrides)
    url = lasting_server(current_home())
    quiet_prefect()
    os.environ.update(prefect_environment(current_home(), url))
    from flows.schedule.deployments import Wish, deploy_flow

    done = [deploy_flow(entry, settings, Wish(*wish)) for entry, settings in wanted]
    if as_json:
        print(json.dumps([one._asdict() for one in done], indent=2))
        return
    for one in done:
        when = f"{one.cron} ({one.timezone})" if one.cron else "only when asked"
        console.print(
            f"{one.deployment} {'registered' if one.created else 'updated'}: {when}"
            f"{', paused' if one.paused else ''}, pool {one.pool}",
            highlight=False,
        )
        console.print(one.url, soft_wrap=True, highlight=False)
        for date in one.next:
            console.print(f"  next: {date}", highlight=False)
    pools = {one.pool: one.pool_type for one in done}
    for pool, kind in pools.items():
        if kind == "process":
            start = f"PREFECT_API_URL={url} prefect worker start --pool {pool}"
            console.print(f"a worker: {start}", soft_wrap=True, highlight=False)


def lasting_server(home: Home) -> str:
    """Return the address of the Prefect server that deployments live on.

    Raises:
        ConfigError: there is none, or it does not answer.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    record = read_record(home, "prefect")
    if not url and is_alive(record):
        url = record["url"]
    if not url:
        raise ConfigError(
            "a deployment needs a Prefect server that stays: start one with `sparring up`, or set "
            "PREFECT_API_URL to yours"
        )
    if not answers(f"{url.rstrip('/')}/health", seconds=10.0):
        raise ConfigError(
            f"nothing answers at the Prefect server {url}: start it (`sparring up` starts one here)"
        )
    return url


def promote_candidate(
    name: str,
    flow: str,
    overrides: Sequence[str],
    console: Console,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Gather the evidence about a candidate, show it, and let the gate decide.

    Args:
        name: `candidate`, or the run that made it.
        flow: whose models.
        overrides: `gate.a=b` each.
        console: where progress and evidence go.
        dry_run: move nothing.
        as_json: print JSON.

    Raises:
        ConfigError: there is no candidate, or something it was measured with is gone.
        GateRefused: a criterion does not hold; nothing moved.
        AliasMovedError: somebody else moved the champion in the meantime.
    """
    find_flow(flow)
    quiet_prefect()
    from flows.configs.promotion import PromotionConfig
    from flows.promotion import find_candidate

    home = current_home()
    candidate = find_candidate(home, flow, name)
    gate = _gate(flow, candidate.config, overrides)
    champion = current_alias(home, flow, CHAMPION)
    if champion is not None and champion.models == candidate.models:
        told = {"flow": flow, "champion": asdict(champion), "moved": False}
        _tell(console, f"{candidate.run} is the champion of {flow} already", told, as_json=as_json)
        return
    settings = PromotionConfig(
        flow=flow,
        run=candidate.run,
        candidate=candidate.number,
        champion=champion.number if champion else 0,
        gate=gate,
        dry_run=dry_run,
    )
    quiet = Console(stderr=True) if as_json else console
    decision = run_flow(PROMOTION, settings, quiet, always=True).report
    _show_decision(decision, flow, candidate.run, console, dry_run=dry_run, as_json=as_json)


def restore_champion(flow: str, console: Console, *, as_json: bool) -> None:
    """Give the champion back to the one before, here and in MLflow.

    Raises:
        ConfigError: there is none, or none before it.
    """
    find_flow(flow)
    from flows.promotion import demote_champion

    home = current_home()
    left, now = demote_champion(home, flow)
    spool = Spool(home.ensure().spool, now.run)
    recorder = Recorder(spool, Path("mlruns"))
    recorder.start()
    tell_alias(spool, now)
    recorder.close()
    told = {"flow": flow, "champion": asdict(now), "moved": True}
    _tell(
        console,
        f"the champion of {flow} is {now.run} again; {left.run} was demoted",
        told,
        as_json=as_json,
    )


def _wanted(
    flow: str | None, config: Path | None, overrides: Sequence[str]
) -> list[tuple[FlowEntry, FlowConfig]]:
    """Return the flows to register with their checked configurations."""
    if flow is not None:
        entry = find_flow(flow)
        settings = read_config(entry, config, overrides)
        assert isinstance(settings, FlowConfig)
        return [(entry, settings)]
    if config is not None:
        raise ConfigError("--config belongs to one flow: name it, as in `sparring deploy apo -c …`")
    found = []
    for entry in FLOWS.values():
        tree = apply_overrides(load_config(find_config(entry, None)), overrides)
        settings = validate(entry.config_class(), tree, entry.default)
        assert isinstance(settings, FlowConfig)
        if settings.schedule is not None:
            found.append((entry, settings))
    if not found:
        raise ConfigError(
            "no flow has a schedule in its default config: name a flow and a config that has one "
            "(`sparring deploy apo -c FILE`), or give --cron"
        )
    return found


def _gate(flow: str, config: dict[str, Any], overrides: Sequence[str]) -> GateConfig:
    """Return the gate of a candidate's config with single values replaced."""
    for override in overrides:
        if not override.startswith("gate."):
            raise ConfigError(f"--set {override!r}: only values of the gate can be replaced here")
    tree = apply_overrides({"gate": config["gate"]}, overrides)
    full = {**config, **tree}
    settings = validate(find_flow(flow).config_class(), full, "the candidate's config")
    assert isinstance(settings, FlowConfig)
    return settings.gate


def _show_decision(
    decision: Artifact, flow: str, run: str, console: Console, *, dry_run: bool, as_json: bool
) -> None:
    """Print the evidence and end as the gate says."""
    folder = fetch_artifact(decision)
    evidence = read_json(folder / "report.json")
    holds = bool(evidence["holds"])
    moved = holds and not dry_run
    if as_json:
        print(json.dumps({"flow": flow, "run": run, "moved": moved, **evidence}, indent=2))
    else:
        criteria = evidence["tables"]["criteria"]
        console.print(table(tuple(criteria["columns"]), criteria["rows"]))
        console.print(criteria["note"], highlight=False)
    failed = [one["name"] for one in evidence["criteria"] if one["holds"] is False]
    if failed:
        raise GateRefused(
            f"{run} stays a candidate: the gate refuses for {'; '.join(failed)}. The evidence is "
            f"in {folder}"
        )
    if as_json:
        return
    ending = "would become" if dry_run else "is now"
    console.print(f"the gate holds: {run} {ending} the champion of {flow}", highlight=False)


def _tell(console: Console, text: str, values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        console.print(text, highlight=False, soft_wrap=True)
