"""The report of an EXO run: frontier, comparisons at equal KL, win rates, density, examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple
from pathlib import Path

from tasks.evaluation.config import EVALUATION
from tasks.evaluation.exo.comparisons import main_series
from tasks.evaluation.exo.config import ExoEntry, ExoReportConfig
from tasks.evaluation.exo.density import DENSITY
from tasks.evaluation.exo.density_report import density_plots, density_table
from tasks.evaluation.exo.findings import contenders, findings
from tasks.evaluation.exo.plots import frontier_plot, looks, step_plot
from tasks.evaluation.exo.points import courses, shares_against
from tasks.evaluation.exo.run import ExoRun
from tasks.evaluation.exo.series import KINDS, Series
from tasks.evaluation.exo.sweeps import sweep_plot, sweeps_of
from tasks.evaluation.exo.tables import (
    checkpoint_table,
    comparison_table,
    duel_table,
    level_table,
    reward_model_table,
    settings_table,
    win_table,
)
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.metrics.estimates import over_seeds
from tasks.evaluation.metrics.judge_accuracy import judge_accuracies
from tasks.evaluation.metrics.length_drift import unfinished
from tasks.evaluation.report.data import asked, compared_examples, data_sentence
from tasks.evaluation.report.document import Example, Plot, Report, write_report
from tasks.evaluation.report.headline import headline, summary_table
from tasks.evaluation.report.pictures import Look, course_pictures
from tasks.evaluation.report.tables import Table
from tasks.settings.log import Log
from tasks.storage.files import read_json


def assemble_exo_report(
    policies: Mapping[str, Path],
    reward_models: Mapping[str, Path],
    density: Path | None,
    examination: Path | None,
    config: ExoReportConfig,
    output: Path,
    log: Log,
    verdicts: Mapping[str, Path] | None = None,
) -> dict[str, float]:
    """Write the report, plots and CSVs of the stage `write_exo_report` from its inputs' folders."""
    run = ExoRun(
        {name: read_json(path / EVALUATION) for name, path in policies.items()},
        {name: read_json(path / EVALUATION) for name, path in reward_models.items()},
        read_json(density / DENSITY) if density else None,
        config,
    )
    judge, judged = config.judge, Verdicts.read(verdicts or {})
    accuracies = judge_accuracies(run.judges, run.reward_models)
    sentences = [
        *(one.sentence for one in accuracies),
        *unfinished(run.ended, "sampling.max_new_tokens"),
        *findings(run.series, run.comparisons, run.by_name, run.density, judge),
        *judged.findings,
    ]
    flat = headlines(run)
    report = Report(
        title=config.title,
        facts={
            "judge of the frontier": judge,
            "judge of the win rates": run.judges[-1],
            "test prompts": asked(run.evaluations[run.opponents[0].name]),
            **config.facts,
        },
        headline=headline(contenders(run.start, run.series, run.by_name), judge, accuracies),
        pictures=pictures(run, output),
        findings=[*([data_sentence(examination)] if examination else []), *sentences],
        tables=[*tables(run), *judged.tables],
        plots=plots(run, output),
        examples=[*examples(run), *judged.examples],
        numbers={
            "headlines": flat,
            "judge": judged.rates,
            "contests": [asdict(comparison) for comparison in run.comparisons],
            "reward_models": {
                name: {pairs: one["figures"] for pairs, one in sets.items()}
                for name, sets in run.reward_models.items()
            },
        },
    )
    write_report(report, output)
    for sentence in sentences:
        log.note(sentence)
    return flat


def tables(run: ExoRun) -> list[Table]:
    """Return the tables that the run has numbers for."""
    judge = run.config.judge
    judges = list(dict.fromkeys([run.judges[-1], judge]))
    ends = contenders(run.start, run.series, run.by_name)
    found = [
        summary_table(ends, judge),
        win_table(run.series, run.opponents, run.evaluations, judges),
        duel_table(run.series, run.evaluations, run.all_judges),
        checkpoint_table(run.series, run.start, run.by_name, judge),
        comparison_table(run.comparisons, judge) if run.comparisons else None,
        level_table(run.series, run.frontier, judge),
        density_table(run.density) if run.density else None,
        reward_model_table(run.reward_models, run.config.seen) if run.reward_models else None,
        settings_table(run.series),
    ]
    return [table for table in found if table]


def pictures(run: ExoRun, output: Path) -> list[Plot]:
    """Draw the means over seeds of every method's first line, as in the other plots."""
    lines = courses(run.start, main_series(run.series), run.by_name)
    drawn = {name: Look(*astuple(look)) for name, look in looks(run.series).items()}
    return course_pictures(lines, run.config.judge, "step", output, drawn) if lines else []


def plots(run: ExoRun, output: Path) -> list[Plot]:
    """Draw the figures that the run has numbers for."""
    all_series, judge = run.series, run.config.judge
    first = {judge: run.points[judge]}
    found = []
    if all_series:
        files = frontier_plot(all_series, run.points, output)
        caption = (
            "One point per checkpoint, all seeds; a seed's points are connected in order of steps. "
            "Bars are one standard error over prompts. The KL of Best-of-N is log N − (N − 1) / N, "
            "an upper bound where samples tie."
        )
        found.append(Plot("Figure 2: reward against KL", files, caption))
        files = frontier_plot(all_series, first, output, value="accuracy", name="figure-7")
        caption = "The mean sigmoid of the reward: an accuracy where it is a classifier's log-odds."
        found.append(Plot("Figure 7: accuracy against KL", files, caption))
    if any(series.first.kind == "policy" for series in all_series):
        files = step_plot(all_series, run.start, run.points[judge][1], judge, output)
        caption = (
            "Means over seeds with one standard error; the band is the deviation among a prompt's "
            "responses, averaged over prompts."
        )
        found.append(Plot("Figure 8: reward against step", files, caption))
    if run.density:
        colours = {name: look.colour for name, look in looks(all_series).items()}
        found += density_plots(run.density, colours, output)
    win_judge = run.judges[-1]
    if sweeps := sweeps_of(all_series, run.opponents, run.evaluations, win_judge):
        files = sweep_plot(sweeps, win_judge, output)
        caption = "Last checkpoints; bars are one standard error over prompts and seeds."
        found.append(Plot("Figure 6: win rate against β", files, caption))
    return found


def examples(run: ExoRun) -> list[Example]:
    """Return prompts with the outputs of start, chosen and the end of every main series."""
    named = {KINDS[one.kind]: one for one in run.opponents}
    named |= {series.name: series.last[0] for series in main_series(run.series)}
    found = {label: run.evaluations[one.name] for label, one in named.items()}
    return compared_examples(found, run.judges, run.config.examples)


def headlines(run: ExoRun) -> dict[str, float]:
    """Return where each series ends, and the differences at equal KL, as flat names and floats."""
    flat: dict[str, float] = {}
    for series in run.series:
        last = [run.by_name[one.name] for one in series.last]
        flat |= {
            f"{series.name}/reward": over_seeds([point.reward for point in last]).value,
            f"{series.name}/kl": over_seeds([point.kl for point in last]).value,
            f"{series.name}/win_rate": _win_rate(series, run),
        }
    for comparison in run.comparisons:
        if comparison.outcome:
            name = f"equal_kl/{comparison.ours} vs {comparison.theirs}/difference"
            flat[name] = comparison.outcome.difference
    return flat


def _win_rate(series: Series, run: ExoRun) -> float:
    start: ExoEntry = run.opponents[0]
    return shares_against(series.last, start, run.evaluations, run.judges[-1]).win.value
