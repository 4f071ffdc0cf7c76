"""Where the nodes of a lineage graph stand on a page.

Time goes down: a row per step from the furthest origin. What does the same kind of thing stands in
one column, so that the policies, say, form a line from the first to the last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate

from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node

NODE_WIDTH, NODE_HEIGHT = 164, 36
_GAP_X, _GAP_Y, _ROW_GAP, _TOP, _LANE_GAP = 10, 8, 24, 34, 22

DATA, REWARD, SAMPLES, POLICY, OTHER, EVALUATION = range(6)
LANES = ("data", "reward models", "samples", "policies", "other stages", "evaluation")
"""The columns, from left to right."""
_MOST_ABREAST = (1, 1, 2, 1, 3, 3)
_LANE_OF = {
    "external": DATA,
    "prepare_data": DATA,
    "prepare_texts": DATA,
    "extract_prompts": DATA,
    "collect_gold": DATA,
    "update_reward_model": REWARD,
    "update_tqr": REWARD,
    "train_classifier": REWARD,
    "pair_with_gold": SAMPLES,
    "pair_demonstrations": SAMPLES,
    "sample_responses": SAMPLES,
    "score_responses": SAMPLES,
    "compute_reference_logps": SAMPLES,
    "label_preferences": SAMPLES,
    "pick_best_of_n": SAMPLES,
    "initialise_policy": POLICY,
    "update_policy": POLICY,
    "update_policy_by_ppo": POLICY,
}
_MODELS = {"policy": POLICY, "reward_model": REWARD}
_MEASURING = ("diagnose_", "evaluate_", "estimate_", "write_", "decide_promotion", "judge")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a node stands: its upper left corner, pixels."""

    x: float
    y: float
    lane: int
    """Its column, an index of `LANES`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing's measures."""

    spots: dict[str, Spot]
    """By node id."""
    lanes: dict[int, tuple[float, float]]
    """Left edge and width of each column that is not empty."""
    width: float
    height: float


def lay_out(graph: Graph) -> Layout:
    """Give every output and file of a graph a place; runs have none."""
    depth = layers(graph)
    lane = lanes(graph)
    cells: dict[tuple[int, int], list[str]] = {}
    for name in depth:
        cells.setdefault((depth[name], lane[name]), []).append(name)
    abreast = {
        column: min(_MOST_ABREAST[column], max(map(len, _column(cells, column))))
        for column in sorted(set(lane.values()))
    }
    widths = {
        column: float(count * (NODE_WIDTH + _GAP_X) - _GAP_X + _LANE_GAP)
        for column, count in abreast.items()
    }
    lefts = dict(zip(widths, accumulate((0.0, *widths.values())), strict=False))
    spots: dict[str, Spot] = {}
    y = float(_TOP)
    for row in sorted(set(depth.values())):
        height = 0
        for column, count in abreast.items():
            cell = _ordered(graph, cells.get((row, column), []), spots)
            for index, name in enumerate(cell):
                x = lefts[column] + _LANE_GAP / 2 + index % count * (NODE_WIDTH + _GAP_X)
                spots[name] = Spot(x, y + index // count * (NODE_HEIGHT + _GAP_Y), column)
            height = max(height, -(-len(cell) // count) * (NODE_HEIGHT + _GAP_Y))
        y += height + _ROW_GAP
    bands = {column: (lefts[column], widths[column]) for column in widths}
    return Layout(spots, bands, sum(widths.values()), y)


def layers(graph: Graph) -> dict[str, int]:
    """Return the row of each node: how many steps it is from its furthest origin, without runs.

    What has no inputs stands just above the first that needs it. An edge that closes a loop, which
    no honest manifest has, does not count.
    """
    names = [name for name, node in graph.nodes.items() if node.kind != "run"]
    sources = {name: {edge.source for edge in graph.inputs(name)} for name in names}
    targets: dict[str, set[str]] = {name: set() for name in names}
    for name, found in sources.items():
        for source in found:
            targets[source].add(name)
    waiting = {name: len(found) for name, found in sources.items()}
    depth = dict.fromkeys(names, 0)
    ready = deque(name for name in names if not waiting[name])
    while ready:
        name = ready.popleft()
        for target in targets[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for name in names:
        if not sources[name] and targets[name]:
            depth[name] = max(0, min(depth[target] for target in targets[name]) - 1)
    return depth


def lanes(graph: Graph) -> dict[str, int]:
    """Return the column of each node: by its stage, and samples that only measure with the rest."""
    names = [name for name, node in graph.nodes.items() if node.kind != "run"]
    known = {name: _lane(graph.nodes[name]) for name in names}
    trains = set(graph.up(*(name for name in names if known[name] in (REWARD, POLICY, OTHER))))
    measured = any(lane == EVALUATION for lane in known.values())
    return {
        name: EVALUATION if lane == SAMPLES and measured and name not in trains else lane
        for name, lane in known.items()
    }


def _lane(node: Node) -> int:
    """Return the column of a node: by the model that it is, or by the stage's name."""
    produces = str(node.manifest.provenance.get("produces")) if node.manifest else ""
    if node.stage.startswith(_MEASURING):
        return EVALUATION
    return _MODELS.get(produces, _LANE_OF.get(node.stage, OTHER))


def _column(cells: dict[tuple[int, int], list[str]], column: int) -> list[list[str]]:
    """Return the cells of one column."""
    return [cell for (_, lane), cell in cells.items() if lane == column]


def _ordered(graph: Graph, cell: list[str], spots: dict[str, Spot]) -> list[str]:
    """Sort the nodes of one cell by where what they come from stands."""

    def centre(name: str) -> tuple[float, str]:
        above = [spots[edge.source].x for edge in graph.inputs(name) if edge.source in spots]
        return (sum(above) / len(above) if above else 0.0), graph.nodes[name].title

    return sorted(cell, key=centre)
