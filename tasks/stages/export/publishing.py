"""An output of the store becomes a folder of its own, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError, did_you_mean
from tasks.stages.artifact import committed_artifact
from tasks.stages.export.card import UNKNOWN, Delivery
from tasks.stages.export.data_tables import write_tables
from tasks.stages.export.kinds import DATA, SCORED_BY_MODELS, can_leave, model_kind, refusal
from tasks.stages.export.model_folder import write_model
from tasks.stages.export.origins import origins_of
from tasks.stages.key import stage_title
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node
from tasks.stages.manifest import Manifest
from tasks.stages.remote.transfer import fetch_artifact
from tasks.storage.durable import make_folder, temporary_name
from tasks.storage.files import publish_directory, remove_tree
from tasks.storage.home import Home

FORMATS = ("hf", "trl")
"""`hf` is what is in the store: a model folder, groups; `trl` has TRL's columns for data."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    artifact: str
    """`STAGE/KEY` of what was exported."""
    title: str
    """What people call it."""
    kind: str
    """What it is, in words."""
    folder: str
    """Where it is now."""
    contents: dict[str, Any]
    """How much of what there is in it."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self)


def export_output(
    home: Home,
    graph: Graph,
    node: Node,
    folder: Path,
    *,
    form: str | None = None,
    messages: bool = False,
    licence: str | None = None,
) -> Exported:
    """Write an output of the store as a folder that other tools read.

    Args:
        home: The home that has it, or gets it from the remote.
        graph: The lineage of all that is known.
        node: The output.
        folder: A new or an empty folder.
        form: One of `FORMATS`; None is `hf` for a model, `trl` for data.
        messages: Write data as messages where every prompt is one plain turn too.
        licence: As the hub spells it; None is `unknown`.

    Returns:
        What was written.

    Raises:
        ConfigError: It is a run or a file, its stage makes nothing for others, an option is not
            for its kind, the folder is not empty or lies in the home, or there is no such form.
        ArtifactLostError: Its files are damaged or gone everywhere.
    """
    if form is not None and form not in FORMATS:
        raise ConfigError(f"there is no format {form!r}{did_you_mean(form, FORMATS)}")
    manifest = _output(graph, node)
    _require_fitting(manifest, form, messages=messages)
    _require_empty(folder)
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(home.root)):
        raise ConfigError(f"{folder} lies in the store {home.root}: name a folder elsewhere")
    source = fetch_artifact(committed_artifact(home, manifest), home)
    origins, kind = origins_of(home, graph, node), model_kind(manifest)
    name = Path(os.path.realpath(folder)).name

    def fill(place: Path) -> dict[str, Any]:
        out = Delivery(origins, source, place, name, licence or UNKNOWN)
        if kind is not None:
            return write_model(kind, out)
        keep = manifest.stage in SCORED_BY_MODELS
        return write_tables(out, whole=form == "hf", messages=messages, keep_scores=keep)

    contents = _write_whole(folder, fill)
    title = stage_title(manifest.stage, manifest.label)
    what = kind.title if kind else DATA[manifest.stage]
    return Exported(node.id, title, what, str(folder), contents)


def _output(graph: Graph, node: Node) -> Manifest:
    """Return the manifest of what is to be exported, or say why it cannot be."""
    if node.run is not None:
        made = [graph.nodes[name] for name in graph.members(node.id)]
        found = (one.manifest for one in made if one.manifest and model_kind(one.manifest))
        names = ", ".join(one.label or one.stage for one in found) or "none"
        raise ConfigError(
            f"{node.title} is a run; name one thing that it made or used, as {node.title}/NAME. "
            f"Models: {names}. "
            f"`sparring lineage {node.title}` shows its data too"
        )
    if node.manifest is None:
        what = "a file of your own" if node.kind == "external" else "known by its name only"
        raise ConfigError(f"{node.title} cannot be exported: it is {what}")
    if not can_leave(node.manifest):
        raise refusal(node.manifest)
    return node.manifest


def _require_fitting(manifest: Manifest, form: str | None, *, messages: bool) -> None:
    """Refuse an option that would change nothing for this kind of output."""
    kind, title = model_kind(manifest), stage_title(manifest.stage, manifest.label)
    if kind is not None and messages:
        raise ConfigError(f"--messages is for data, and {title} is {kind.title}: leave it out")
    if form == "hf" and messages:
        raise ConfigError("--format hf writes groups, which hold messages: leave --messages out")


def _require_empty(folder: Path) -> None:
    if os.path.realpath(folder) == os.getcwd():
        raise ConfigError(f"{folder} is the current folder: name a new one in it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already: name a new or an empty folder")


def _write_whole(folder: Path, fill: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Fill a folder under another name beside it, then give it its own."""
    target = Path(os.path.realpath(folder))
    temporary = temporary_name(target.parent)
    try:
        make_folder(temporary)
        contents = fill(temporary)
        _require_empty(target)
        if target.is_dir():
            target.rmdir()
        publish_directory(temporary, target)
    finally:
        remove_tree(temporary)
    return contents
