"""What `sparring ls` prints: tables that fit 80 columns for people, JSON with all for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.console import Console
from rich.filesize import decimal

from flows.registry import FLOWS, config_headers
from flows.runs.console import print_json
from flows.runs.tables import columns, minute
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.settings.loading import load_config
from tasks.stages.key import stage_title
from tasks.stages.lineage.bans import barred_models, list_bans, why_barred
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import list_manifests, load_manifest
from tasks.stages.retention.operations import list_operations
from tasks.stages.runs.aliases import ROLES, list_aliases
from tasks.stages.runs.run_journal import stage_ends, stage_events
from tasks.stages.runs.run_store import Run, config_file, list_runs
from tasks.stages.runs.states import PROMOTION, project_of
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote

Row = dict[str, Any]
_DECISION = "decide_promotion"


class Listing(NamedTuple):
    """A list that can be asked for."""

    rows: Callable[[Home], list[Row]]
    """Returns all that is known, a dict for each line."""
    cells: Callable[[Row], Row]
    """Returns what people see of a line, by heading; the last cell is folded where need be."""


def show_list(what: str, console: Console, *, as_json: bool) -> None:
    """Print runs, artifacts, aliases, bans, operations, flows or configs.

    Raises:
        ConfigError: There is no such list.
    """
    if what not in LISTS:
        raise ConfigError(f"there is no list of {what!r}{did_you_mean(what, LISTS)}")
    listing = LISTS[what]
    rows = listing.rows(current_home())
    if as_json:
        print_json(rows)
    elif rows:
        cells = [listing.cells(row) for row in rows]
        console.print(columns(cells, folded={list(cells[0])[-1]}))
    else:
        console.print(f"no {what} yet in {current_home().root}", soft_wrap=True)


def outcome(home: Home, run: Run) -> str:
    """Return what a promotion came to: `dry run`, `refused` or `promoted`; empty for other runs.

    It is empty too of one that did not complete, or whose evidence was removed.
    """
    if (project_of(run.flow)[1], run.status) != (PROMOTION, "completed"):
        return ""
    if load_config(config_file(home, run.id)).get("dry_run"):
        return "dry run"
    calls = stage_ends(stage_events(home, run.id))
    keys = [call["key"] for call in calls if call["stage"] == _DECISION]
    decision = load_manifest(home, _DECISION, keys[-1]) if keys else None
    if decision is None:
        return ""
    return "promoted" if decision.metrics["holds"] else "refused"


def _runs(home: Home) -> list[Row]:
    return [
        {
            "run": run.id,
            "flow": run.flow,
            "status": run.status,
            "outcome": outcome(home, run),
            "started": run.started,
        }
        for run in list_runs(home)
    ]


def _artifacts(home: Home) -> list[Row]:
    return [
        {
            "key": found.key[:12],
            "stage": found.stage,
            "label": found.label,
            "digest": found.digest,
            "bytes": found.size,
            "created": str(found.provenance.get("created", "")),
        }
        for found in list_manifests(home)
    ]


def _aliases(home: Home) -> list[Row]:
    return [
        {
            "flow": record.flow,
            "alias": record.alias,
            **{role: record.models.get(role, "") for role in ROLES},
            "run": record.run,
            "since": record.time,
            "who": record.who,
            "why": record.reason,
            "barred": why_barred(home, record.models),
        }
        for record in list_aliases(home)
    ]


def _bans(home: Home) -> list[Row]:
    """Return what is barred, with all that was made of it."""
    bans = list_bans(home)
    graph = lineage_graph(home, open_remote()) if bans else Graph()
    return [
        {**asdict(ban), "models": [one.id for one in barred_models(ban, graph)]} for ban in bans
    ]


def _operations(home: Home) -> list[Row]:
    return [asdict(one) for one in list_operations(home)]


def _operation_cells(row: Row) -> Row:
    said = f"{row['verb']}: {row['what']}"
    return {"time (UTC)": minute(row["time"]), "who": row["who"], "what": said}


def _ban_cells(row: Row) -> Row:
    models = [f"{stage}/{key[:12]}" for stage, key in (one.split("/") for one in row["models"])]
    said = f"by {row['who']}, {minute(row['time'])}: {row['why']}"
    return {"run": row["run"], "models barred": "\n".join([said, *models])}


def _alias_cells(row: Row) -> Row:
    models = [
        f"{role}: {stage}/{key[:12]}"
        for role in ROLES
        for stage, _, key in (row[role].partition("/"),)
        if key
    ]
    by = f" by {row['who']}" if row["who"] else ""
    lines = [f"run {row['run']}", *models, f"since {minute(row['since'])}{by}: {row['why']}"]
    lines += [f"barred: {row['barred']}"] if row["barred"] else []
    return {"alias": f"{row['flow']}/{row['alias']}", "names": "\n".join(lines)}


def _artifact_cells(row: Row) -> Row:
    created, size = minute(row["created"]), decimal(row["bytes"])
    title = stage_title(row["stage"], row["label"])
    return {"key": row["key"], "created (UTC)": created, "size": size, "artifact": title}


def _run_cells(row: Row) -> Row:
    shown = {"run": row["run"], "flow": row["flow"], "status": row["outcome"] or row["status"]}
    return {**shown, "started (UTC)": minute(row["started"])}


LISTS = {
    "runs": Listing(_runs, _run_cells),
    "artifacts": Listing(_artifacts, _artifact_cells),
    "aliases": Listing(_aliases, _alias_cells),
    "bans": Listing(_bans, _ban_cells),
    "operations": Listing(_operations, _operation_cells),
    "flows": Listing(lambda _: [{"flow": e.name, "does": e.summary} for e in FLOWS.values()], dict),
    "configs": Listing(
        lambda _: [{"config": name, "is": line} for name, line in config_headers().items()], dict
    ),
}
"""Every list by its name."""
