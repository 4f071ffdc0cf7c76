"""The nodes of the lineage graph (outputs, users' files, flow runs) and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tasks.stages.key import stage_title
from tasks.stages.manifest import InputRecord, Manifest
from tasks.stages.runs.run_store import Run
from tasks.storage.plain import plain_metrics

NodeKind = Literal["artifact", "external", "run"]
Place = Literal["here", "remote", "removed", "gone", ""]
"""Where an output is: its manifest is `gone`, or only its files are `removed`; "" for others."""


@dataclass(frozen=True, slots=True)
class Node:
    """An output of a stage, a user's own file, or a flow run."""

    id: str
    """`STAGE/KEY`, `external/DIGEST` or `run/RUN`."""
    kind: NodeKind
    """Whether it is an output, a file or a run."""
    title: str
    """Name of the node for people."""
    digest: str = ""
    """DVC's md5; empty for runs, and where only parts of a removed output are known."""
    place: Place = ""
    """Where the files of an output are."""
    manifest: Manifest | None = None
    """An output's manifest; None when it is gone, and for files and runs."""
    run: Run | None = None
    """The record of a flow run; None for outputs and files."""

    @property
    def stage(self) -> str:
        """The stage's name; "external" or "run" for others."""
        return self.id.partition("/")[0]

    @property
    def key(self) -> str:
        """The stage's key, the file's digest or the run's id."""
        return self.id.partition("/")[2]

    @property
    def made_by(self) -> str:
        """Id of the flow run that made an output; may be empty."""
        return str(self.manifest.provenance.get("run", "")) if self.manifest else ""

    def to_json(self) -> dict[str, Any]:
        """Return all that is known, as plain values."""
        names: tuple[str, ...] = ("id", "kind", "title", "digest", "place")
        plain: dict[str, Any] = {name: getattr(self, name) for name in names}
        if made := self.manifest:
            names = ("version", "seed", "config", "arguments")
            plain |= {name: getattr(made, name) for name in names}
            plain |= {"metrics": plain_metrics(made.metrics), "bytes": made.size}
            plain |= {"provenance": made.provenance}
        if self.run:
            names = ("flow", "status", "started", "updated", "prefect_flow_run")
            plain |= {name: getattr(self.run, name) for name in names}
        return plain


@dataclass(frozen=True, slots=True)
class Edge:
    """One thing went into another, or a run made or used it."""

    source: str
    """Id of what went in, or of the run."""
    target: str
    """Id of what came out."""
    role: str
    """The input's role; "made" or "used" from a run."""
    part: str = ""
    """Path of the part of the source that went in; empty for all of it."""


def output_node(manifest: Manifest, place: Place) -> Node:
    """Return the node of a finished stage."""
    title = stage_title(manifest.stage, manifest.label)
    name = f"{manifest.stage}/{manifest.key}"
    return Node(name, "artifact", title, manifest.digest, place, manifest)


def run_node(run: Run) -> Node:
    """Return the node of a flow run."""
    return Node(f"run/{run.id}", "run", run.id, run=run)


def mentioned_node(record: InputRecord, label: str) -> Node:
    """Return what an input's record says of its source."""
    if not record.key:
        title = label or f"file {record.digest[:8]}"
        return Node(f"external/{record.digest}", "external", title, record.digest)
    digest = "" if record.part else record.digest
    return Node(f"{record.stage}/{record.key}", "artifact", record.stage, digest, "gone")
