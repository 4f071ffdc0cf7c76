"""What `sparring deploy` does and prints; Prefect is imported when it is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.configs.recurring import RecurringConfig
from flows.registry import FLOWS, FlowEntry, find_config, find_flow, read_config
from flows.runs.console import print_json
from flows.servers.prefect_server import use_prefect_server
from flows.servers.service import answers, read_record
from tasks.processes.detached import is_alive
from tasks.settings.errors import ConfigError, GateRefused
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.retention.operations import record_operation
from tasks.storage.home import current_home


def deploy_flows(
    flow: str | None,
    config: Path | None,
    overrides: Sequence[str],
    options: tuple[Any, ...],
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Register one flow, or each whose default config has a schedule.

    `options` are the fields of `flows.schedule.deployments.DeploymentOptions`.

    Raises:
        ConfigError: There is no server, no such pool, or nothing to register.
    """
    wanted = _wanted(flow, config, overrides)
    url = _use_lasting_server()
    from flows.schedule.deployments import DeploymentOptions, deploy_flow

    done = [deploy_flow(entry, settings, DeploymentOptions(*options)) for entry, settings in wanted]
    _show_deployed(done, url, console, as_json=as_json)
    home = current_home().ensure()
    for one in done:
        record_operation(home, "deploy", f"{one.deployment} on pool {one.pool}: {_when(one)}")


def _show_deployed(done: Sequence[Any], url: str, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json([one._asdict() for one in done])
        return
    for one in done:
        is_new = "registered" if one.created else "updated"
        text = f"{one.deployment} {is_new}: {_when(one)}, pool {one.pool}"
        for line in (text, one.url, *(f"  next: {date}" for date in one.next)):
            console.print(line, soft_wrap=True, highlight=False)
    for pool in dict.fromkeys(one.pool for one in done if one.pool_type == "process"):
        start = f"PREFECT_API_URL={url} prefect worker start --pool {pool}"
        console.print(f"a worker: {start}", soft_wrap=True, highlight=False)


def _when(one: Any) -> str:
    when = f"{one.cron} ({one.timezone})" if one.cron else "only when asked"
    return f"{when}, paused" if one.paused else when


def show_deployment_check(flow: str | None, console: Console, *, as_json: bool) -> None:
    """Print which deployments, of one flow or of all, the installed code can run, and what to do.

    Raises:
        ConfigError: There is no server, or no such flow.
        GateRefused: The installed code cannot run some of them.
    """
    if flow is not None:
        find_flow(flow)
    _use_lasting_server()
    from flows.schedule.deployment_check import check_deployments

    checked = check_deployments(flow)
    broken = [one for one in checked if one.problem]
    if as_json:
        print_json([one._asdict() for one in checked])
    else:
        for one in checked:
            console.print(one.sentence, soft_wrap=True, markup=False, highlight=False)
    if broken:
        raise GateRefused(
            f"the installed code cannot run {len(broken)} of {len(checked)} deployments: "
            f"{', '.join(one.deployment for one in broken)}"
        )


def show_ticks(console: Console, *, as_json: bool) -> None:
    """Print whether the scheduled runs of every deployment come when they are due.

    Raises:
        ConfigError: There is no server.
        GateRefused: A run is overdue.
    """
    _use_lasting_server()
    from flows.schedule.ticks import look_at_ticks

    ticks = look_at_ticks()
    late = [one.deployment for one in ticks if one.problem]
    if as_json:
        print_json([one._asdict() for one in ticks])
    else:
        for one in ticks:
            console.print(one.sentence, soft_wrap=True, markup=False, highlight=False)
        if not ticks:
            console.print("no deployment has a schedule", highlight=False)
    if late:
        raise GateRefused(f"schedules are not kept: {', '.join(late)}")


def _use_lasting_server() -> str:
    """Let this process's Prefect use the server that deployments live on; return its address."""
    home = current_home()
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
    use_prefect_server(home, url)
    return url


def _wanted(
    flow: str | None, config: Path | None, overrides: Sequence[str]
) -> list[tuple[FlowEntry, RecurringConfig]]:
    """Return the flows to register with their checked configurations."""
    if flow is not None:
        entry = find_flow(flow)
        settings = read_config(entry, config, overrides)
        assert isinstance(settings, RecurringConfig)
        return [(entry, settings)]
    if config is not None:
        raise ConfigError("--config belongs to one flow: name it, as in `sparring deploy apo -c …`")
    found = []
    for entry in FLOWS.values():
        tree = apply_overrides(load_config(find_config(entry, None)), overrides)
        settings = validate(entry.config_class(), tree, entry.default)
        assert isinstance(settings, RecurringConfig)
        if settings.schedule is not None:
            found.append((entry, settings))
    if not found:
        raise ConfigError(
            "no flow has a schedule in its default config: name a flow and a config that has one "
            "(`sparring deploy apo -c FILE`), or give --cron"
        )
    return found
