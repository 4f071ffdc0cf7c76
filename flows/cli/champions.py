"""What `sparring promote`, `demote`, `export-champion` and `import-champion` do and print.

Prefect is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.configs.recurring import RecurringConfig
from flows.registry import PROMOTION, recorded_flow
from flows.runs.console import print_json
from flows.runs.runner import run_flow
from flows.runs.tables import table
from tasks.evaluation.config import GateConfig
from tasks.settings.errors import ConfigError, GateRefused, UnknownNameError
from tasks.settings.loading import apply_overrides, validate
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.bans import (
    ban_models,
    barred_models,
    lift_ban,
    list_bans,
    why_barred,
)
from tasks.stages.lineage.offers import kept_offer
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.retention.champion_archive import export_champion, import_champion
from tasks.stages.retention.operations import record_operation
from tasks.stages.runs.aliases import (
    CANDIDATE,
    CHAMPION,
    AliasRecord,
    current_alias,
    list_aliases,
    log_alias,
    require_alias,
)
from tasks.stages.runs.naming import find_run
from tasks.storage.files import read_json
from tasks.storage.home import Home, current_home
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import Spool


def promote_candidate(
    name: str,
    flow: str | None,
    overrides: Sequence[str],
    console: Console,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Gather the evidence about a candidate, show it, and let the gate decide.

    `name` is `candidate`, or the run that made it; `flow` may be None where one flow alone has
    candidates; `overrides` are `gate.a=b` each.

    Raises:
        ConfigError: There is no candidate, several flows have some and none is named, or something
            it was measured with is gone.
        GateRefused: A criterion does not hold, or it is barred; nothing moved.
        AliasMovedError: Somebody else moved the champion in the meantime.
    """
    home = current_home()
    flow = flow_meant(home, flow, CANDIDATE, name)
    from flows.configs.promotion import PromotionConfig
    from flows.promotion import find_candidate

    candidate = find_candidate(home, flow, name)
    gate = _gate(flow, candidate.config, overrides)
    champion = current_alias(home, flow, CHAMPION)
    if why := why_barred(home, candidate.models):
        raise GateRefused(f"{candidate.run} cannot be promoted: {why}")
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
    # What was decided before is only shown again: nothing moves, so no server is worth starting.
    decision = run_flow(PROMOTION, settings, console, always=not dry_run).report
    _show_decision(decision, flow, candidate.run, console, dry_run=dry_run, as_json=as_json)


def restore_champion(flow: str | None, console: Console, *, ban: str | None, as_json: bool) -> None:
    """Make the previous champion the champion again, here and in MLflow.

    With `ban`, the reason, its policy and all that was made of it are barred from promotion and
    from being the start of scheduled runs; the first champion stays named then.

    Raises:
        ConfigError: There is no champion, none before it, or several flows have one.
    """
    home = current_home()
    flow = flow_meant(home, flow, CHAMPION)
    from flows.promotion import demote_champion

    barred = []
    if ban is not None:
        graph = lineage_graph(home, open_remote())
        made = ban_models(home, require_alias(home, flow, CHAMPION), ban)
        barred = [f"{node.title} {node.id}" for node in barred_models(made, graph)]
    try:
        left, now = demote_champion(home, flow)
    except ConfigError as error:
        said = f"; {len(barred)} models are barred all the same" if ban is not None else ""
        raise ConfigError(f"{error}{said}") from error
    spool = Spool(home.ensure().spool, now.run)
    recorder = Recorder(spool, Path("mlruns"))
    recorder.start()
    log_alias(home, spool, now)
    recorder.close()
    told = {"flow": flow, "champion": asdict(now), "moved": True, "barred": barred}
    lines = [f"the champion of {flow} is {now.run} again; {left.run} was demoted"]
    if barred:
        lines += [f"barred are {len(barred)} models:", *(f"  {one}" for one in barred)]
    _tell(console, "\n".join(lines), told, as_json=as_json)


def lift_bans(run: str, console: Console, *, as_json: bool) -> None:
    """Let the models of a run that were barred be promoted again.

    Raises:
        ConfigError: Nothing of that run is barred.
    """
    home = current_home()
    bans = list_bans(home)
    found = [one for one in bans if one.run == run]
    if not found:
        known = ", ".join(one.run for one in bans) or "nothing"
        raise ConfigError(f"no model of {run!r} is barred; barred is {known}")
    for one in found:
        lift_ban(home, one)
        record_operation(home, "demote --lift-ban", f"the policy of {run}: {one.why}")
    told = {"run": run, "lifted": len(found)}
    _tell(console, f"the models of {run} may be promoted again", told, as_json=as_json)


def write_champion(flow: str | None, folder: Path, console: Console, *, as_json: bool) -> None:
    """Copy the champion of a flow into a new folder, and say what it is; JSON is its record.

    Raises:
        ConfigError: There is no champion, several flows have one, or the folder is not empty.
    """
    home = current_home()
    flow = flow_meant(home, flow, CHAMPION)
    record = export_champion(home, flow, folder)
    _show_champion(record, f"the champion of {flow} is in {folder}", console, as_json=as_json)


def take_champion(folder: Path, console: Console, *, as_json: bool) -> None:
    """Make an exported champion the champion of its flow here, and say so; as `write_champion`.

    Raises:
        ConfigError: The folder holds no champion that this version can read.
        CorruptError: It is damaged.
    """
    record = import_champion(current_home(), folder)
    _show_champion(
        record, f"the champion of {record.flow} is that of {folder}", console, as_json=as_json
    )


def flow_meant(home: Home, named: str | None, alias: str, name: str = "") -> str:
    """Return the flow that is named, else the only one that has the alias.

    A candidate's `name` may be its run's, which says the flow too.

    Raises:
        ConfigError: No flow has it, or several have.
    """
    if named is not None:
        recorded_flow(named)
        return named
    having = sorted({record.flow for record in list_aliases(home) if record.alias == alias})
    of_run = [flow for flow in having if name.startswith(f"{flow}-")]
    if name not in ("", CANDIDATE):
        with suppress(UnknownNameError):
            offer = kept_offer(home, find_run(home, name).id)
            of_run = [offer.flow] if offer else of_run
    if len(of_run or having) == 1:
        return (of_run or having)[0]
    if having:
        many = " or ".join(f"--flow {flow}" for flow in having)
        raise ConfigError(f"{' and '.join(having)} have a {alias} each: say {many}")
    how = {
        CANDIDATE: "every run that ends well makes one, `sparring run apo`; in a project only "
        "scheduled ones do, and `sparring promote RUN` takes what another offered",
        CHAMPION: "`sparring promote` makes one",
    }
    raise ConfigError(f"no flow has a {alias} yet: {how[alias]}")


def _gate(flow: str, config: dict[str, Any], overrides: Sequence[str]) -> GateConfig:
    """Return the gate of a candidate's config with single values replaced."""
    for override in overrides:
        if not override.startswith("gate."):
            raise ConfigError(f"--set {override!r}: only values of the gate can be replaced here")
    full = {**config, **apply_overrides({"gate": config["gate"]}, overrides)}
    settings = validate(recorded_flow(flow).config_class(), full, "the candidate's config")
    assert isinstance(settings, RecurringConfig)
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
        print_json({"flow": flow, "run": run, "moved": moved, **evidence})
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
    if not as_json:
        ending = "would become" if dry_run else "is now"
        console.print(f"the gate holds: {run} {ending} the champion of {flow}", highlight=False)


def _tell(console: Console, text: str, values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        console.print(text, highlight=False, soft_wrap=True)


def _show_champion(record: AliasRecord, text: str, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    models = [f"  {role}: {reference}" for role, reference in record.models.items()]
    for line in (f"{text} (run {record.run})", *models):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
