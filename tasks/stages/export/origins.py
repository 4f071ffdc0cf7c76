"""What a card says of an output: what it came from, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.config import EVALUATION
from tasks.evaluation.metrics.judge_accuracy import judge_accuracy
from tasks.stages.artifact import ArtifactLostError, committed_artifact
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Edge, Node
from tasks.stages.manifest import Manifest
from tasks.stages.remote.transfer import fetch_artifact
from tasks.storage.files import read_json
from tasks.storage.home import Home

_PER_PROMPT = "per_prompt"
_BESIDE = ("_se", "_pairs")
"""Ends of names that belong to another metric: its error, and how many pairs it is of."""
_INSIDE = {
    "score": "scores/{}",
    "accuracy": "accuracies/{}",
    "spread": "spreads/{}",
    "win_rate": "against/{}/win",
    "gap_closed": "gap_closed/share",
}
"""Where an evaluation's file has the metrics whose names begin so; the others are called alike."""
_Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One number and its 95 % interval."""

    name: str
    """Name of the metric, as in MLflow."""
    value: float
    """The number."""
    interval: _Interval
    """Where it lies with 95 % confidence; None where nobody estimated that."""


@dataclass(frozen=True, slots=True)
class Origins:
    """All that the store knows of an output."""

    manifest: Manifest
    """Of the output."""
    parents: tuple[tuple[Edge, Node], ...]
    """What it was made of, by role."""
    files: tuple[Node, ...]
    """The user's files among its ancestors."""
    hub_data: tuple[str, ...]
    """Names of the hub's data sets among its ancestors, with their revision behind an `@`."""
    hub_models: tuple[str, ...]
    """The same of models."""
    evaluations: tuple[tuple[Node, tuple[Measured, ...]], ...]
    """What measured it, the newest first, and what that found."""
    doubts: tuple[str, ...] = ()
    """Why scores of the judges in these evaluations say little, a sentence each."""


def origins_of(home: Home, graph: Graph, node: Node) -> Origins:
    """Gather what is known of an output.

    Args:
        home: The home whose evaluations are read; they are fetched if need be.
        graph: The lineage of all that is known.
        node: The output; it has a manifest.
    """
    assert node.manifest is not None, f"{node.id} has no manifest"
    ancestors = [graph.nodes[name] for name in graph.up(node.id)]
    made = [one.manifest for one in ancestors if one.manifest]
    models = [one for one in made if one.provenance.get("produces")]
    return Origins(
        node.manifest,
        tuple((edge, graph.nodes[edge.source]) for edge in graph.inputs(node.id)),
        tuple(one for one in ancestors if one.kind == "external"),
        _hub_names(one.config for one in made if one not in models),
        _hub_names(one.config for one in models),
        tuple(_evaluations(home, graph, node)),
        tuple(dict.fromkeys(_doubts(graph, node))),
    )


def measured(metrics: Mapping[str, float], tree: Mapping[str, Any]) -> Iterator[Measured]:
    """Yield the metrics of an evaluation, each with the interval that its file has.

    Args:
        metrics: What the stage returned, by name.
        tree: The content of its `evaluation.json`; the metrics where that is gone.

    Example:
        >>> tree = {"against": {"start": {"RM": {"win": 0.5, "win_low": 0.4, "win_high": 0.6}}}}
        >>> [found.interval for found in measured({"win_rate/start/RM": 0.5}, tree)]
        [(0.4, 0.6)]
    """
    intervals = dict(_intervals(tree))
    for name, value in metrics.items():
        if name.endswith(_BESIDE):
            continue
        first, _, rest = name.partition("/")
        inside = _INSIDE[first].format(rest) if first in _INSIDE else name
        yield Measured(name, value, intervals.get(inside))


def _intervals(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, _Interval]]:
    """Yield the path of each number that has an interval or an error beside it, and where it is."""
    if {"value", "standard_error"} <= tree.keys():
        yield path.rstrip("/"), _around(tree["value"], tree["standard_error"])
        return
    for name, value in tree.items():
        if name == "interval":
            yield f"{path}share", (value["low"], value["high"])
        elif isinstance(value, Mapping) and name != _PER_PROMPT:
            yield from _intervals(value, path if name == "figures" else f"{path}{name}/")
        elif f"{name}_low" in tree:
            yield f"{path}{name}", (tree[f"{name}_low"], tree[f"{name}_high"])
        elif f"{name}_se" in tree:
            yield f"{path}{name}", _around(value, tree[f"{name}_se"])


def _around(value: float, error: float) -> _Interval:
    # An error of 0 means that it is not known.
    return (value - 1.96 * error, value + 1.96 * error) if error else None


def _evaluations(
    home: Home, graph: Graph, node: Node
) -> Iterator[tuple[Node, tuple[Measured, ...]]]:
    """Yield what measured a model: the stages that took it, whole, in the role of its kind."""
    for target in _measurements(graph, node):
        made = target.manifest
        assert made is not None, "asked for those that have one"
        tree: Mapping[str, Any] = made.metrics
        # What was removed to make room still has its numbers, with fewer intervals.
        with suppress(ArtifactLostError):
            tree = read_json(fetch_artifact(committed_artifact(home, made), home) / EVALUATION)
        yield target, tuple(measured(made.metrics, tree))


def _measurements(graph: Graph, node: Node) -> list[Node]:
    """Return the evaluations that took a model, whole, in the role of its kind, newest first."""
    role = node.manifest.provenance.get("produces") if node.manifest else None
    found = [
        target
        for edge in graph.out_of.get(node.id, [])
        if edge.role == role
        and not edge.part
        and (made := (target := graph.nodes[edge.target]).manifest)
        and EVALUATION in {file.path for file in made.files}
    ]
    return sorted(found, key=_created, reverse=True)


def _doubts(graph: Graph, node: Node) -> Iterator[str]:
    """Yield what is to be said of a reward model, and of those that judged a policy."""
    judges = [("this reward model", node)]
    for evaluation in _measurements(graph, node):
        judges += [
            (edge.role.removeprefix("scores."), graph.nodes[up.source])
            for edge in graph.inputs(evaluation.id)
            if edge.role.startswith("scores.")
            for up in graph.inputs(edge.source)
            if up.role == "reward_model"
        ]
    for judge, model in judges:
        yield from judge_doubts(graph, judge, model)


def judge_doubts(graph: Graph, judge: str, model: Node) -> Iterator[str]:
    """Yield why a judge's scores say little: a sentence for each measurement that shows it.

    Args:
        graph: Of all that is known.
        judge: What the run calls it.
        model: The reward model that it is.
    """
    for one in _measurements(graph, model):
        metrics = one.manifest.metrics if one.manifest else {}
        figures = {
            name.removeprefix("test/"): value
            for name, value in metrics.items()
            if name.startswith("test/")
        }
        if "accuracy_pairs" in figures and (said := judge_accuracy(judge, figures).doubt):
            yield said


def _created(node: Node) -> str:
    return str(node.manifest.provenance.get("created", "")) if node.manifest else ""


def _hub_names(configs: Iterator[Any]) -> tuple[str, ...]:
    """Return the hub's names in configurations, each once."""
    found: dict[str, None] = {}
    pending: list[Any] = list(configs)
    while pending:
        config = pending.pop()
        if isinstance(config, Mapping):
            if name := config.get("hub"):
                found[f"{name}@{config['revision']}" if config.get("revision") else name] = None
            pending += config.values()
        elif isinstance(config, list | tuple):
            pending += config
    return tuple(sorted(found))
