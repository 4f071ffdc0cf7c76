"""What a user names for the judge: files of answers, runs, policies; resolved to what stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from flows.cli.comparing.sides import side_of
from flows.cli.lineage import find_node
from flows.configs.judge import JudgedSide, Tester
from tasks.data.sources.config import SourceConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import EXTERNAL
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Edge, Node

_ANSWERS = ("sample_responses", "pick_best_of_n", "score_responses")
"""Stages whose outputs are answers to prompts."""
_POLICY_FILE = "config.json"


class ResolvedSide(NamedTuple):
    """One side, and what else is known of it."""

    side: JudgedSide
    """Its answers, or who gives them."""
    runs: tuple[str, ...] = ()
    """The runs that made or used it, any of which may have a judge; one that was named first."""
    references: str = ""
    """The prompts that it answered, as `JudgeRunConfig.references`."""
    testers: Mapping[str, Tester] = {}
    """The reward models that scored it."""


def resolve_side(
    graph: Graph, name: str, policy: str | None, fields: dict[str, str], *, is_asked: bool
) -> ResolvedSide:
    """Return what a name means as one side of a match.

    Args:
        graph: Of everything known here.
        name: A file of answers, the folder of a model, a run, a policy, an evaluation, or samples.
        policy: Which contender of a run; None for the last one.
        fields: Columns of a file, by our names.
        is_asked: Whether it answers new prompts, so that it has to be a policy.

    Raises:
        ConfigError: It is nothing of that kind, or no policy where one has to answer.
    """
    path = Path(name)
    if path.is_file():
        return ResolvedSide(JudgedSide(name=path.stem, file=SourceConfig(path=name, fields=fields)))
    if (path / _POLICY_FILE).is_file():
        if not is_asked:
            raise ConfigError(
                f"the model {name} has answered nothing yet: name prompts for it with --prompts"
            )
        return ResolvedSide(JudgedSide(name=path.resolve().name, policy=name))
    node = find_node(graph, name)
    if node.stage in _ANSWERS and not is_asked:
        return _of_answers(graph, node)
    evaluated = [one for one in graph.out_of.get(node.id, []) if one.role == "policy"]
    if is_asked and not node.run and not any(_is_evaluation(graph, one) for one in evaluated):
        return _of_policy(graph, node)
    found = side_of(graph, name, policy)
    runs = (*filter(None, [found.run]), *_runs(graph, found.node.id))
    testers = _testers(graph, found.scored)
    policies = [edge for edge in graph.inputs(found.node.id) if edge.role == "policy"]
    answers = next(iter(_answers_of(graph, found.scored)), None)
    if is_asked:
        if not policies:
            raise ConfigError(f"{found.name} of {name} is no policy, so it cannot answer --prompts")
        rollout = _rollout(graph, answers.source if answers else "")
        side = JudgedSide(name=found.name, policy=_reference(policies[0]), rollout=rollout)
        return ResolvedSide(side, runs, "", testers)
    if answers is None:
        raise ConfigError(
            f"no reward model scored the answers of {found.name}, so they are not known by it: "
            "name its samples (`sparring ls artifacts`), or prompts with --prompts"
        )
    side = JudgedSide(name=found.name, answers=_reference(answers))
    return ResolvedSide(side, runs, _prompts_of(graph, answers), testers)


def shared_testers(ours: ResolvedSide, theirs: ResolvedSide) -> dict[str, Tester]:
    """Return the reward models that are the same on both sides, or those of the only one."""
    if ours.testers and theirs.testers:
        return {name: one for name, one in ours.testers.items() if theirs.testers.get(name) == one}
    return dict(ours.testers or theirs.testers)


def _of_answers(graph: Graph, node: Node) -> ResolvedSide:
    name = node.title.partition(" · ")[2] or node.key[:12]
    edge = Edge(node.id, "", "responses")
    side = JudgedSide(name=name, answers=node.id)
    return ResolvedSide(side, _runs(graph, node.id), _prompts_of(graph, edge))


def _of_policy(graph: Graph, node: Node) -> ResolvedSide:
    if node.manifest is None or node.manifest.provenance.get("produces") != "policy":
        raise ConfigError(
            f"{node.title} {node.key[:12]} is no policy, so it cannot answer --prompts"
        )
    name = node.title.partition(" · ")[2] or node.key[:12]
    return ResolvedSide(JudgedSide(name=name, policy=node.id), _runs(graph, node.id))


def _runs(graph: Graph, name: str) -> tuple[str, ...]:
    """Return the ids of the runs that made or used an output, the newest one first."""
    found = [graph.nodes[edge.source] for edge in graph.callers.get(name, [])]
    return tuple(sorted((one.key for one in found), reverse=True))


def _is_evaluation(graph: Graph, edge: Edge) -> bool:
    return graph.nodes[edge.target].stage == "evaluate_policy"


def _answers_of(graph: Graph, scored: Mapping[str, str]) -> list[Edge]:
    """Return what was scored for an evaluation: the same for every reward model."""
    return [
        edge for name in scored.values() for edge in graph.inputs(name) if edge.role == "responses"
    ]


def _rollout(graph: Graph, samples: str) -> RolloutConfig:
    """Return how samples were drawn; the default where they are none of a policy."""
    node = graph.nodes.get(samples)
    if node is None or node.stage != "sample_responses" or node.manifest is None:
        return RolloutConfig()
    return RolloutConfig.model_validate(node.manifest.config)


def _prompts_of(graph: Graph, answers: Edge) -> str:
    """Return the groups whose prompts were answered; given answers are such themselves."""
    node = graph.nodes[answers.source]
    if node.stage == "prepare_data":
        return _reference(answers)
    return next((_reference(edge) for edge in graph.inputs(node.id) if edge.role == "queries"), "")


def _testers(graph: Graph, scored: Mapping[str, str]) -> dict[str, Tester]:
    found = {}
    for judge, name in scored.items():
        made = graph.nodes[name].manifest
        models = [edge for edge in graph.inputs(name) if edge.role == "reward_model"]
        if made is not None and models and not models[0].source.startswith(EXTERNAL):
            scoring = ScoringConfig.model_validate(made.config)
            found[judge] = Tester(model=_reference(models[0]), scoring=scoring)
    return found


def _reference(edge: Edge) -> str:
    return f"{edge.source}/{edge.part}" if edge.part else edge.source
