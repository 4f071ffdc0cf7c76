"""Models that are barred from promotion and from being a start, with all that was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from tasks.processes.identity import who_asks
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.runs.aliases import AliasRecord
from tasks.stages.runs.references import shared_records
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.opening import open_remote


@dataclass(frozen=True, slots=True)
class Ban:
    """What was said of the models of one run."""

    flow: str
    """The flow that made them."""
    run: str
    """The run that made them."""
    models: dict[str, str]
    """`STAGE/KEY` by role."""
    why: str
    """The reason, as it was given."""
    who: str
    """Who said so, `USER@HOST`."""
    time: str
    """When, ISO 8601, UTC."""


def ban_models(home: Home, record: AliasRecord, why: str) -> Ban:
    """Bar the policy of an alias, with a remote on every machine; replaces an earlier reason.

    Its reward model may serve others: a run of the same data uses it again.

    Raises:
        CorruptError: The record of an earlier ban of these models is damaged.
    """
    records, name = shared_records(home), _name(record.flow, record.run)
    if (known := records.get(name)) is not None:
        unsealed_json(known, f"{records.url}/{name}")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    ban = Ban(record.flow, record.run, {"policy": record.models["policy"]}, why, who_asks(), moment)
    records.put(name, sealed_json(asdict(ban)).encode())
    return ban


def lift_ban(home: Home, ban: Ban) -> None:
    """Let models that were barred, and all that was made of them, be promoted again."""
    shared_records(home).delete(_name(ban.flow, ban.run))


def list_bans(home: Home) -> list[Ban]:
    """Return what is barred, by flow and run.

    Raises:
        CorruptError: A record is damaged: what it bars must not be promoted by mistake.
    """
    if not home.root.is_dir():
        return []
    records = shared_records(home)
    found = []
    for name in records.names("bans/"):
        try:
            found.append(Ban(**unsealed_json(records.get(name) or b"", f"{records.url}/{name}")))
        except TypeError as error:
            raise CorruptError(f"{records.url}/{name} is no ban: {error}") from error
    return found


def why_barred(home: Home, models: Mapping[str, str]) -> str:
    """Say why models may not be promoted or started from; an empty text if they may.

    Args:
        home: The home that knows what is barred, as the remote does.
        models: `STAGE/KEY` of each model by role.

    Raises:
        CorruptError: A record of what is barred is damaged.
    """
    bans = list_bans(home)
    graph = lineage_graph(home, open_remote()) if bans else Graph()
    for role, reference in models.items():
        origins = set(graph.up(reference)) if reference in graph.nodes else {reference}
        for ban in bans:
            for barred, model in ban.models.items():
                if model in origins:
                    of = "is" if model == reference else "comes from"
                    return (
                        f"its {role} {of} the {barred} of {ban.run}, which {ban.who} barred on "
                        f"{ban.time[:10]}: {ban.why}"
                    )
    return ""


def barred_models(ban: Ban, graph: Graph) -> list[Node]:
    """Return the models that a ban bars: its own, and those that were made of them."""
    known = [model for model in ban.models.values() if model in graph.nodes]
    below = (graph.nodes[name] for name in graph.down(*known))
    return [one for one in below if one.manifest and one.manifest.provenance.get("produces")]


def _name(flow: str, run: str) -> str:
    return f"bans/{flow}/{run}.json"
