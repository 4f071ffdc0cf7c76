"""One side of a comparison: the policy that a user names, as a run evaluated it."""

from __future__ import annotations

from typing import Any, NamedTuple

from flows.cli.lineage import find_node
from tasks.evaluation.config import EVALUATION
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.stages.artifact import committed_artifact
from tasks.stages.export.origins import judge_doubts
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node
from tasks.stages.runs.run_names import called
from tasks.storage.files import read_json
from tasks.storage.home import current_home

ORACLE = "oracle"
"""The judge of the playground, which knows the true reward."""
_STAGE = "evaluate_policy"


class Side(NamedTuple):
    """One of the two policies."""

    node: Node
    """Its evaluation."""
    run: str
    """The run that was named; empty where the evaluation was."""
    prompts: dict[str, Any]
    """Scores by judge, by prompt id."""
    judges: dict[str, str]
    """Digest of each judge's model, or of the world, by name."""
    doubts: dict[str, list[str]]
    """Why a judge's scores say little, by judge."""
    scored: dict[str, str]
    """Id of the output that holds the responses with a judge's scores, by judge."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.node.title.partition(" · ")[2] or self.node.key[:12]


def side_of(graph: Graph, name: str, policy: str | None) -> Side:
    """Return one side of a comparison by what the user called it.

    Args:
        graph: Of everything known here.
        name: A run, an evaluation, or a policy that was evaluated once.
        policy: Which contender of a run; None for the last one.

    Raises:
        ConfigError: There is none, or its evaluation is not on this machine.
    """
    found = find_node(graph, name)
    node = _contender(graph, found, policy) if found.run else _evaluation_of(graph, found)
    if node.manifest is None:
        raise ConfigError(f"the evaluation {node.title} of {name} was removed; run the flow again")
    path = committed_artifact(current_home(), node.manifest).path / EVALUATION
    if not path.exists():
        raise ConfigError(
            f"{node.title} {node.key[:12]} is not on this machine; `sparring pull {node.key[:12]}`"
        )
    judges, doubts, scored = {}, {}, {}
    for edge in graph.inputs(node.id):
        role, _, judge = edge.role.partition(".")
        if role == "scores":
            models = [up for up in graph.inputs(edge.source) if up.role == "reward_model"]
            made = graph.nodes[models[0].target].manifest if models else None
            judges[judge] = made.inputs["reward_model"].digest if made else ""
            found_of = (judge_doubts(graph, judge, graph.nodes[up.source]) for up in models)
            doubts[judge] = [said for doubt in found_of for said in doubt]
            scored[judge] = edge.source
        elif role == ORACLE:
            judges[ORACLE] = graph.nodes[edge.source].digest
    run = found.key if found.run else ""
    return Side(node, run, read_json(path)["per_prompt"], judges, doubts, scored)


def _contender(graph: Graph, run: Node, policy: str | None) -> Node:
    """Return the evaluation of a run's policy: of that name, or the last one."""
    members = [graph.nodes[name] for name in graph.members(run.id)]
    found = {one.title.partition(" · ")[2]: one for one in members if one.stage == _STAGE}
    if not found:
        raise ConfigError(f"run {run.key} has evaluated no policy yet; `sparring resume {run.key}`")
    if policy is None:
        return list(found.values())[-1]
    meant = called(policy, {name: name for name in found})
    if len(meant) > 1:
        raise ConfigError(f"policy {policy!r} of run {run.key} means several: {', '.join(meant)}")
    if not meant:
        raise ConfigError(
            f"run {run.key} has no policy {policy!r}{did_you_mean(policy, found)}; "
            f"it evaluated {', '.join(found)}"
        )
    return found[meant[0]]


def _evaluation_of(graph: Graph, node: Node) -> Node:
    """Return an evaluation that was named, or that of a policy that was.

    Of several the one of the policy's own label is meant: the run's that made it, no gate's and no
    yardstick's.
    """
    if node.stage == _STAGE:
        return node
    uses = [edge for edge in graph.out_of.get(node.id, []) if edge.role == "policy"]
    found = [one for edge in uses if (one := graph.nodes[edge.target]).stage == _STAGE]
    label = node.title.partition(" · ")[2]
    own = [one for one in found if label and one.title.partition(" · ")[2] == label]
    found = own if len(own) == 1 else found
    if len(found) != 1:
        raise ConfigError(
            f"{node.title} {node.key[:12]} is no evaluation, and {len(found)} evaluations are of "
            "it; name a run, or an artifact of evaluate_policy (`sparring ls artifacts`)"
        )
    return found[0]
