"""What `sparring judge` does and prints: two sides' answers, compared by a language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from flows.cli.comparing.judged_sides import ResolvedSide, resolve_side, shared_testers
from flows.cli.lineage import known_graph
from flows.configs.judge import JudgedSide, JudgeRunConfig
from flows.registry import JUDGE, ready_config
from flows.runs.console import open_console, print_json
from flows.runs.runner import recorded_config, run_flow
from flows.runs.tables import table
from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.endpoints.estimate import Estimate, estimate_requests
from tasks.endpoints.ledger import Ledger
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.matchup import differing, judge_requests
from tasks.evaluation.judging.pairing import matched_pairs, opposed
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, UnknownNameError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.settings.plurals import counted
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.references import referenced_artifact
from tasks.storage.files import read_json
from tasks.storage.home import current_home
from tasks.tracking.remote.opening import open_remote


class Asked(NamedTuple):
    """What a user asked for besides the two sides."""

    prompts: Path | None = None
    """A file of prompts that policies answer anew; None for what was answered already."""
    config: Path | None = None
    """A file with the key `judge`; None for the judge of a side's run."""
    overrides: Sequence[str] = ()
    """`judge.a=b` each."""
    policy: str | None = None
    """Which contender of a run."""
    fields: Sequence[tuple[str, str]] = ()
    """Columns of files, by our names."""
    people: bool = False
    """Whether the judge also compares the chosen and the rejected answers."""


class _OwnJudge(FrozenConfig):
    """What is read of the file that says who judges."""

    judge: JudgeConfig


def judge_sides(
    first: str, second: str, asked: Asked, console: Console, *, dry_run: bool, as_json: bool
) -> None:
    """Let a judge compare two sides, and print what it said; with `dry_run`, what it would cost.

    Raises:
        ConfigError: A side or the judge cannot be made out, or the sides share no prompt.
        BudgetExhausted: The budget is used up; what was answered is kept.
    """
    config = _resolved(first, second, asked, console)
    estimate = estimate_match(config)
    if dry_run and as_json:
        print_json(config.model_dump(mode="json") | {"estimate": estimate and estimate.to_json()})
        return
    title = f"{config.ours.name} against {config.theirs.name}"
    told = f"{title}, judged by {config.judge.endpoint.model}: {_bill(config, estimate)}"
    where = open_console(stderr=True) if as_json else console
    where.print(told, markup=False, highlight=False, soft_wrap=True)
    if dry_run:
        return
    outcome = run_flow(JUDGE, config, console)
    folder = fetch_artifact(outcome.report)
    rates = read_json(folder / "report.json")["numbers"]["judge"]
    if as_json:
        print_json({**outcome.to_json(), "matches": rates})
        return
    _show(Verdicts(rates, {}, {}, ()), folder, console)


def estimate_match(config: JudgeRunConfig) -> Estimate | None:
    """Say what the judge's answers will cost; None where policies have yet to answer.

    Raises:
        ConfigError: A side has no answers, or the two share no prompt or all their answers.
    """
    sides = [_groups(one) for one in (config.ours, config.theirs)]
    for one, groups in zip((config.ours, config.theirs), sides, strict=True):
        if groups is not None and not any(group.responses for group in groups):
            raise ConfigError(
                f"{one.file.path if one.file else one.name} has {counted(len(groups), 'prompt')} "
                "and no answers: an answer stands in the column `response`, or name yours with "
                "--fields response=COLUMN"
            )
    if sides[0] is None or sides[1] is None:
        return None
    references: list[Group] = []
    if config.prompts:
        references = _read(config.prompts)
    elif config.references:
        references = _stored(config.references)
    judge = config.judge
    matches = [matched_pairs(sides[0], sides[1], judge.prompts, references)]
    if not differing(matches[0]):
        raise ConfigError(
            f"{config.ours.name} and {config.theirs.name} are the same answers to "
            f"{counted(len(matches[0]), 'prompt')}, all that both answered: name another side"
        )
    if config.people:
        matches.append(matched_pairs(references, map(opposed, references), judge.prompts))
    requests = (one for pairs in matches for one in judge_requests(differing(pairs), judge))
    ledger = Ledger(current_home().ledger, open_remote())
    return estimate_requests(judge.endpoint, requests, ledger, unit="questions")


def _resolved(first: str, second: str, asked: Asked, console: Console) -> JudgeRunConfig:
    graph, fields, prompts = known_graph(console), dict(asked.fields), asked.prompts
    ours, theirs = (
        resolve_side(graph, name, asked.policy, fields, is_asked=prompts is not None)
        for name in (first, second)
    )
    if ours.side == theirs.side:
        raise ConfigError(f"{first} and {second} are the same answers: name another side")
    sides = [ours.side, theirs.side]
    if ours.side.name == theirs.side.name:
        sides = [_told_apart(one, name) for one, name in ((ours, first), (theirs, second))]
    return JudgeRunConfig(
        ours=sides[0],
        theirs=sides[1],
        judge=_judge(asked, [ours, theirs]),
        prompts=SourceConfig(path=str(prompts), fields=fields) if prompts else None,
        references=ours.references or theirs.references,
        people=asked.people,
        testers=shared_testers(ours, theirs),
    )


def _judge(asked: Asked, sides: Iterable[ResolvedSide]) -> JudgeConfig:
    """Return the judge of a file, or of the first side's run that has one."""
    tree: dict[str, Any] = {}
    where = str(asked.config)
    if asked.config is not None:
        path = asked.config if asked.config.is_file() else ready_config(where)
        tree = load_config(path)
    else:
        for run in (run for one in sides for run in one.runs):
            try:
                _, config = recorded_config(current_home(), find_run(current_home(), run))
            except UnknownNameError:
                continue  # it was made on another machine
            if judge := getattr(config, "judge", None):
                tree, where = {"judge": judge.model_dump(mode="json")}, f"the config of {run}"
                break
    if not all(one.startswith("judge.") for one in asked.overrides):
        raise ConfigError("--set: only values of the judge can be replaced here, judge.a=b")
    tree = apply_overrides({"judge": tree.get("judge")}, asked.overrides)
    if not tree["judge"]:
        raise ConfigError(
            "nobody is named who judges: give a file with the key `judge` as --config FILE"
        )
    return validate(_OwnJudge, tree, where).judge


def _told_apart(one: ResolvedSide, name: str) -> JudgedSide:
    return one.side.model_copy(update={"name": f"{one.side.name} of {name}"})


def _bill(config: JudgeRunConfig, estimate: Estimate | None) -> str:
    if estimate is not None:
        return estimate.sentence()
    most = config.judge.prompts
    asked = "two questions for each prompt" if most is None else f"at most {2 * most} questions"
    caps = config.judge.endpoint.budget.text
    return f"{asked}, once the policies have answered{f'; the budget is {caps}' if caps else ''}"


def _groups(side: JudgedSide) -> list[Group] | None:
    if side.file is not None:
        return _read(side.file)
    return _stored(side.answers) if side.answers else None


def _read(source: SourceConfig) -> list[Group]:
    return list(read_source(source, lambda _: None))


def _stored(reference: str) -> list[Group]:
    stage, key, *part = reference.split("/", 2)
    found = referenced_artifact(current_home(), f"{stage}/{key}", "", said_by=reference)
    return list(read_groups(fetch_artifact(found.part(part[0]) if part else found)))


def _show(verdicts: Verdicts, folder: Path, console: Console) -> None:
    """Print the findings, and a column of figures for each match."""
    for sentence in verdicts.findings:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for one in verdicts.tables:
        matches = [str(row[0]) for row in one.rows]
        rows = [
            (column.name, *(_cell(row[place]) for row in one.rows))
            for place, column in enumerate(one.columns)
            if place
        ]
        console.print(table(("", *matches), rows))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
