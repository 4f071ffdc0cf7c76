"""What `sparring compare` prints: two policies, prompt by prompt, under every judge they share."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from flows.cli.comparing.sides import ORACLE, Side, side_of
from flows.cli.lineage import known_graph
from flows.runs.console import print_json
from flows.runs.tables import table
from tasks.evaluation.metrics.paired_comparison import (
    JudgeComparison,
    compare_prompts,
    prompt_gaps,
    telling_pairs,
)
from tasks.settings.errors import ConfigError
from tasks.settings.printable import printable
from tasks.stages.artifact import committed_artifact
from tasks.stages.lineage.difference import Cause, find_causes
from tasks.stages.lineage.graph import Graph
from tasks.storage.home import current_home

_SHOWN = 3


class Comparison(NamedTuple):
    """Everything that is shown."""

    first: Side
    second: Side
    judges: list[JudgeComparison]
    """Under the judges that are the same model on both sides."""
    doubts: list[str]
    """Why scores of these judges say little, a sentence each."""
    others: list[str]
    """Judges of both that are not the same model."""
    examples: list[dict[str, Any]]
    """The prompts on which they differ most, the worst for the first one first."""
    causes: list[Cause]
    """What makes them differ."""


def show_comparison(
    first: str, second: str, console: Console, *, policy: str | None, as_json: bool
) -> None:
    """Print how the policies of two runs, or two evaluations, compare.

    `first` and `second` each name a run, an evaluation, or a policy that was evaluated once;
    `policy` names a contender of the runs, by default the last one of each.

    Raises:
        ConfigError: Nothing of that name, other test prompts, or no common judge.
    """
    comparison = _compare_policies(known_graph(console), first, second, policy)
    if as_json:
        print_json(_plain(comparison))
    else:
        _print(comparison, console)


def _compare_policies(graph: Graph, first: str, second: str, policy: str | None) -> Comparison:
    one, two = (side_of(graph, name, policy) for name in (first, second))
    _require_same_prompts(graph, one, two)
    both = [judge for judge in one.judges if judge in two.judges]
    same = [judge for judge in both if one.judges[judge] == two.judges[judge]]
    if not same:
        raise ConfigError(
            f"{one.name} and {two.name} have no judge in common: their scores come from "
            f"{', '.join(one.judges)} and {', '.join(two.judges)}, which are different models"
        )
    same.sort(key=lambda judge: (judge != ORACLE, judge))
    gaps = {judge: prompt_gaps(one.prompts, two.prompts, judge) for judge in same}
    telling = next((judge for judge in same if any(gaps[judge].values())), same[0])
    return Comparison(
        one,
        two,
        compare_prompts(one.prompts, two.prompts, same),
        list(dict.fromkeys(said for judge in same for said in one.doubts.get(judge, []))),
        [judge for judge in both if judge not in same],
        _examples(graph, one, two, telling),
        find_causes(graph, one.node.id, two.node.id),
    )


def _require_same_prompts(graph: Graph, one: Side, two: Side) -> None:
    """Raise ConfigError unless both were measured on the same prompts, saying what differs."""
    if one.prompts.keys() == two.prompts.keys():
        return
    shared = len(one.prompts.keys() & two.prompts.keys())
    files = [
        str(change)
        for cause in find_causes(graph, one.node.id, two.node.id)
        for change in cause.changes
        if change.what.startswith(("file", "config.split", "config.playground", "input sources"))
        or "max_queries" in change.what
    ]
    reason = f" ({'; '.join(dict.fromkeys(files))})" if files else ""
    raise ConfigError(
        f"{one.name} was measured on {len(one.prompts)} prompts and {two.name} on "
        f"{len(two.prompts)}, {shared} of them the same{reason}: only policies that answered the "
        "same test prompts can be compared; run both flows on the same test data"
    )


def _examples(graph: Graph, one: Side, two: Side, judge: str) -> list[dict[str, Any]]:
    """Return the prompts that differ most, with the responses of each side that show it."""
    pairs = telling_pairs(one.prompts, two.prompts, judge, _SHOWN)
    texts = [
        _responses(graph, side, {pair.id: pair.places[number] for pair in pairs})
        for number, side in enumerate((one, two))
    ]
    return [
        {
            **pair._asdict(),
            "prompt": texts[0].get(pair.id, texts[1].get(pair.id, ("", "")))[0],
            "first": texts[0].get(pair.id, ("", ""))[1],
            "second": texts[1].get(pair.id, ("", ""))[1],
        }
        for pair in pairs
    ]


def _responses(graph: Graph, side: Side, wanted: dict[str, int]) -> dict[str, tuple[str, str]]:
    """Return prompt and wanted response by id; nothing where they are not on this machine."""
    from tasks.data.files import read_groups

    for name in side.scored.values():
        node = graph.nodes[name]
        if node.place != "here" or node.manifest is None:
            continue
        found: dict[str, tuple[str, str]] = {}
        for group in read_groups(committed_artifact(current_home(), node.manifest).path):
            if (place := wanted.get(group.id)) is not None:
                prompt = group.prompt[-1].content if group.prompt else ""
                found.setdefault(group.id, (prompt, group.responses[place]))
        return found
    return {}


def _plain(comparison: Comparison) -> dict[str, Any]:
    """Return what is shown as plain values."""

    def side(one: Side) -> dict[str, Any]:
        return {"policy": one.name, "run": one.run, "evaluation": one.node.key}

    return {
        "first": side(comparison.first),
        "second": side(comparison.second),
        "judges": {judge.judge: asdict(judge) for judge in comparison.judges},
        "doubts": comparison.doubts,
        "judges_that_differ": comparison.others,
        "prompts": comparison.examples,
        "differences": [asdict(cause) for cause in comparison.causes],
    }


def _print(comparison: Comparison, console: Console) -> None:
    for letter, one in (("A", comparison.first), ("B", comparison.second)):
        said = f"{letter}  {one.name}  {one.run or one.node.key[:12]}"
        console.print(said, markup=False, highlight=False)
    rows = [
        (
            judge.judge,
            f"{judge.ours:.3f}",
            f"{judge.theirs:.3f}",
            f"{judge.difference:+.3f}",
            f"{judge.interval.low:+.3f} … {judge.interval.high:+.3f}",
            f"{judge.wins}/{judge.ties}/{judge.losses}",
            f"{judge.win_rate:.0%} ({judge.win_interval.low:.0%}–{judge.win_interval.high:.0%})",
        )
        for judge in comparison.judges
    ]
    heads = ("judge", "A", "B", "A − B", "95 %", "won/tied/lost", "A wins")
    console.print(table(heads, rows))
    for doubt in comparison.doubts:
        console.print(f"but {doubt}", markup=False, highlight=False, soft_wrap=True)
    for judge in comparison.others:
        console.print(f"{judge} is another model on each side, so its scores cannot be compared")
    for example in comparison.examples:
        console.print(_example_text(example), soft_wrap=True)
    for cause in comparison.causes[: 2 * _SHOWN]:
        changes = "; ".join(map(str, cause.changes))
        text = Text(f"{printable(cause.title)}: ", "bold").append(printable(changes), "default")
        console.print(text, soft_wrap=True)


def _example_text(example: dict[str, Any]) -> Text:
    side = "A is worse" if example["difference"] < 0 else "A is better"
    judge, answers = example["judge"], example["answers"]
    if max(answers) > 1:
        many = " and ".join(map(str, dict.fromkeys(answers)))
        judge = f"mean {judge} of {many} answers, of which one pair is shown"
    text = Text(f"{side} by {abs(example['difference']):.3g} ({judge}): ", "bold")
    text.append(printable(example["prompt"]), "default")
    for letter, name, score in zip("AB", ("first", "second"), example["scores"], strict=True):
        text.append(f"\n  {letter}  {score:.3g}  {printable(example[name])}", "default")
    return text
