"""The report of an APO run: the paper's tables and Figure 5, the game, and examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tasks.data.files import INDEX
from tasks.evaluation.apo.findings import contenders, findings
from tasks.evaluation.apo.game import GameState, game_state
from tasks.evaluation.apo.gold_quality import gold_section
from tasks.evaluation.apo.paper_tables import match_table, table_1, table_2
from tasks.evaluation.apo.plots import game_plot, score_per_epoch
from tasks.evaluation.apo.tables import (
    START,
    data_counts,
    game_table,
    match_rows,
    policy_rows,
    policy_table,
    reward_tables,
)
from tasks.evaluation.config import EVALUATION, Entry, ReportConfig
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.metrics.estimates import Estimate
from tasks.evaluation.metrics.judge_accuracy import judge_accuracies
from tasks.evaluation.report.data import asked, compared_examples, data_sentence
from tasks.evaluation.report.document import Example, Plot, Report, write_report
from tasks.evaluation.report.headline import headline, summary_table
from tasks.evaluation.report.pictures import Stop, course_pictures
from tasks.gold.collection import QUALITY
from tasks.settings.log import Log
from tasks.storage.files import read_json

Evaluations = Mapping[str, Any]
_BEST_JUDGES = ("oracle", "RM_Test")
"""Whose rewards the headline is about, where they were given; else the first judge's."""


def assemble_apo_report(
    counts: Path,
    examination: Path,
    gold: Path,
    policies: Mapping[str, Path],
    reward_models: Mapping[str, Path],
    games: Mapping[str, Path],
    config: ReportConfig,
    output: Path,
    log: Log,
    verdicts: Mapping[str, Path] | None = None,
) -> dict[str, float]:
    """Write the report, plots and CSVs of the stage `write_apo_report` from its inputs' folders.

    Returns:
        Headline metrics: score and oracle gap of every contender, accuracy of every reward model.
    """
    by_policy = {name: read_json(path / EVALUATION) for name, path in policies.items()}
    by_model = {name: read_json(path / EVALUATION) for name, path in reward_models.items()}
    by_game = {name: read_json(path / EVALUATION) for name, path in games.items()}
    states = game_states(by_game, by_model)
    scorers = sorted(by_policy[START]["scores"])
    judge = next(one for one in (*_BEST_JUDGES, *scorers) if one in scorers)
    answered = read_json(gold / "train" / INDEX)["count"]
    ends, judged = contenders(config, by_policy, judge), Verdicts.read(verdicts or {})
    matches = match_rows(config.entries, by_policy, judged)
    tables = [
        summary_table(ends, judge),
        table_1(data_counts(read_json(counts), answered, by_policy, config)),
        table_2(policy_rows(config.entries, by_policy, judged), scorers=scorers, start=START),
        *reward_tables(by_model, config),
        *([match_table(matches, scorers=scorers)] if matches else []),
        policy_table(config.entries, by_policy),
    ]
    if states:
        tables.append(game_table(states))
    tables += judged.tables
    found = findings(config, by_policy, by_model, states, by_people=judged.by_people)
    sentences = [*found, *judged.findings]
    accuracies = judge_accuracies([judge], by_model)
    epochs = "epoch" if config.apo_epochs == 1 else "epochs"
    report = Report(
        title=f"APO with {config.method.upper()}, {config.apo_epochs} {epochs}",
        facts={
            "policy method": config.method,
            "reward objective": config.objective,
            "test prompts": asked(by_policy[START]),
        },
        headline=headline(ends, judge, accuracies),
        pictures=course_pictures(courses(config, by_policy, judge), judge, "epoch", output),
        findings=[data_sentence(examination), *sentences],
        tables=tables,
        plots=draw(config.entries, by_policy, states, output),
        sections=[gold_section(read_json(gold / QUALITY))],
        examples=[*examples(config, by_policy, scorers), *judged.examples],
        numbers={
            "policies": _headlines(by_policy),
            "reward_models": by_model,
            "games": by_game,
            "judge": judged.rates,
        },
    )
    write_report(report, output)
    for sentence in sentences:
        log.note(sentence)
    return _flat(by_policy, by_model)


def game_states(games: Evaluations, reward_models: Evaluations) -> dict[str, list[GameState]]:
    """Turn evaluations on held-out gold into the states of the game, by player and in order.

    The games are named `EPOCH/ROLE`; the roles are base, before and adapted.
    """
    start = reward_models["RM_Base"]["dev"]["figures"]["ece"]
    states: dict[str, list[GameState]] = {}
    was_told = False
    for name in sorted(games, key=_turn):
        evaluation, (epoch, role) = games[name], (int(name.split("/")[0]), name.split("/")[1])
        adapted = f"RM_APO-v{epoch if role == 'adapted' else epoch - 1}"
        model = "RM_Base" if role == "base" else adapted
        human = reward_models.get(model, reward_models["RM_Base"])["dev"]["figures"]
        fresh = evaluation["fresh"]["figures"]
        queries = len(evaluation["fresh"]["margins"]) or None
        state = game_state(epoch, human, fresh, start_ece=start, queries=queries, was_told=was_told)
        states.setdefault(role, []).append(state)
        was_told = was_told or state.tells_gold
    return states


def _turn(name: str) -> tuple[int, int]:
    """Return a game's place in time, of `EPOCH/ROLE`."""
    epoch, role = name.split("/")
    return int(epoch), ("base", "before", "adapted").index(role)


def draw(
    entries: tuple[Entry, ...],
    policies: Evaluations,
    states: Mapping[str, list[GameState]],
    output: Path,
) -> list[Plot]:
    """Draw Figure 5 and the state of the game."""
    start = policies[START]["scores"]
    sides = list(dict.fromkeys(entry.side for entry in entries if entry.epoch))
    scores = {
        scorer: {
            side: {
                0: Estimate(**start[scorer]),
                **{
                    entry.epoch: Estimate(**policies[entry.name]["scores"][scorer])
                    for entry in entries
                    if entry.side == side
                },
            }
            for side in sides
        }
        for scorer in start
    }
    files = score_per_epoch(scores, output)
    caption = "Average score of the test responses; bars are 95 % intervals over prompts"
    plots = [Plot("Figure 5: average score per epoch", files, caption)]
    if states:
        caption = "Each reward model against fresh samples on prompts it was never trained on"
        plots.append(Plot("State of the game", game_plot(states, output), caption))
    return plots


def examples(
    config: ReportConfig, policies: Evaluations, judges: Collection[str] = ()
) -> list[Example]:
    """Return prompts with the outputs of the start, the last baseline and the last APO policy."""
    last = {entry.side: entry.name for entry in config.entries if entry.epoch}
    shown = {name: policies[name] for name in (START, *last.values())}
    return compared_examples(shown, judges, config.examples)


def courses(config: ReportConfig, policies: Evaluations, judge: str) -> dict[str, list[Stop]]:
    """Return the policies of every side by epoch, each from the start on."""
    start = Stop(0, Estimate(**policies[START]["scores"][judge]), Estimate(0.0, 0.0, 1))
    found: dict[str, list[Stop]] = {}
    for entry in sorted(config.entries, key=lambda one: one.epoch):
        if entry.epoch:
            one = policies[entry.name]
            stop = Stop(entry.epoch, Estimate(**one["scores"][judge]), Estimate(**one["kl"]))
            found.setdefault(entry.side, [start]).append(stop)
    return found or {START: [start]}


def _headlines(policies: Evaluations) -> dict[str, Any]:
    dropped = ("per_prompt", "examples")
    return {
        name: {key: value for key, value in evaluation.items() if key not in dropped}
        for name, evaluation in policies.items()
    }


def _flat(policies: Evaluations, models: Evaluations) -> dict[str, float]:
    flat = {
        f"{name}/score/{scorer}": score["value"]
        for name, evaluation in policies.items()
        for scorer, score in evaluation["scores"].items()
    }
    for name, evaluation in policies.items():
        share = (evaluation.get("gap_closed") or {}).get("share")
        if share is not None:
            flat[f"{name}/gap_closed"] = share
    return flat | {
        f"{name}/test_accuracy": sets["test"]["figures"]["accuracy"]
        for name, sets in models.items()
    }
