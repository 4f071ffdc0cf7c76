"""The report of an EXO run: frontier, comparisons at equal KL, win rates, density, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.evaluation.exo.comparisons import main_lines
from tasks.evaluation.exo.config import ExoEntry, ExoReportConfig
from tasks.evaluation.exo.findings import findings
from tasks.evaluation.exo.plots import frontier_plot, looks, step_plot
from tasks.evaluation.exo.points import shares_against
from tasks.evaluation.exo.run import ExoRun
from tasks.evaluation.exo.series import KINDS, Line
from tasks.evaluation.exo.sweep_plots import density_plot, sweep_plot
from tasks.evaluation.exo.sweeps import sweeps_of
from tasks.evaluation.exo.tables import (
    checkpoint_table,
    contest_table,
    density_table,
    level_table,
    reward_model_table,
    settings_table,
    win_table,
)
from tasks.evaluation.metrics.estimates import over_seeds
from tasks.evaluation.report.document import Example, Plot, Report, write_report
from tasks.evaluation.report.tables import Table
from tasks.settings.log import Log
from tasks.storage.files import read_json

EVALUATION = "evaluation.json"
DENSITY = "density.json"


def assemble_exo_report(
    policies: Mapping[str, Path],
    reward_models: Mapping[str, Path],
    density: Path | None,
    config: ExoReportConfig,
    output: Path,
    log: Log,
) -> dict[str, float]:
    """Write report.md, report.html, report.json, the plots and a CSV behind each.

    Args:
        policies: Output folders of policy evaluations by entry name.
        reward_models: Output folders of reward-model evaluations by name.
        density: Output folder of `estimate_density_ratios`.
        config: Order and meaning of the entries.
        output: Where the files go.
        log: Where the findings are noted.

    Returns:
        `reward`, `kl` and `win_rate` of every line at its end, and every `difference` at equal KL.
    """
    run = ExoRun(
        {name: read_json(path / EVALUATION) for name, path in policies.items()},
        {name: read_json(path / EVALUATION) for name, path in reward_models.items()},
        read_json(density / DENSITY) if density else None,
        config,
    )
    judge = config.judge
    sentences = findings(run.lines, run.contests, run.by_name, run.density, judge)
    flat = headlines(run)
    report = Report(
        title=config.title,
        facts={
            "judge of the frontier": judge,
            "judge of the win rates": run.judges[-1],
            **config.facts,
        },
        findings=sentences,
        tables=tables(run),
        plots=plots(run, output),
        examples=examples(run),
        numbers={
            "headlines": flat,
            "contests": [asdict(contest) for contest in run.contests],
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
    """Return the tables that the run has figures for."""
    judge = run.config.judge
    judges = list(dict.fromkeys([run.judges[-1], judge]))
    found = [
        win_table(run.lines, run.opponents, run.evaluations, judges),
        checkpoint_table(run.lines, run.start, run.by_name, judge),
        contest_table(run.contests, judge) if run.contests else None,
        level_table(run.lines, run.frontier, judge),
        density_table(run.density) if run.density else None,
        reward_model_table(run.reward_models) if run.reward_models else None,
        settings_table(run.lines),
    ]
    return [table for table in found if table]


def plots(run: ExoRun, output: Path) -> list[Plot]:
    """Draw what the run has figures for."""
    lines, judge = run.lines, run.config.judge
    first = {judge: run.points[judge]}
    found = []
    if lines:
        files = frontier_plot(lines, run.points, output)
        caption = (
            "One point per checkpoint, all seeds; a seed's points are connected in order of steps. "
            "Bars are one standard error over prompts. The KL of Best-of-N is log N − (N − 1) / N, "
            "an upper bound where samples tie."
        )
        found.append(Plot("Figure 2: reward against KL", files, caption))
        files = frontier_plot(lines, first, output, value="accuracy", name="figure-7")
        caption = "The mean sigmoid of the reward: an accuracy where it is a classifier's log-odds."
        found.append(Plot("Figure 7: accuracy against KL", files, caption))
    if any(line.first.kind == "policy" for line in lines):
        files = step_plot(lines, run.start, run.points[judge][1], judge, output)
        caption = (
            "Means over seeds with one standard error; the band is the deviation among a prompt's "
            "responses, averaged over prompts."
        )
        found.append(Plot("Figure 8: reward against step", files, caption))
    if run.density:
        colours = {name: look.colour for name, look in looks(lines).items()}
        found += _density_plots(run.density["prompts"], colours, output)
    win_judge = run.judges[-1]
    if sweeps := sweeps_of(lines, run.opponents, run.evaluations, win_judge):
        files = sweep_plot(sweeps, win_judge, output)
        caption = "Last checkpoints; bars are one standard error over prompts and seeds."
        found.append(Plot("Figure 6: win rate against β", files, caption))
    return found


def examples(run: ExoRun) -> list[Example]:
    """Return prompts with the outputs of start, chosen and the end of every main line."""
    named = {KINDS[one.kind]: one for one in run.opponents}
    named |= {line.name: line.last[0] for line in main_lines(run.lines)}
    texts = {label: _texts(run.evaluations[one.name]) for label, one in named.items()}
    shown: Sequence[Mapping[str, str]] = run.evaluations[run.opponents[0].name]["examples"]
    return [
        Example(
            one["prompt"],
            {label: found[one["id"]] for label, found in texts.items() if one["id"] in found},
        )
        for one in shown[: run.config.examples]
    ]


def headlines(run: ExoRun) -> dict[str, float]:
    """Return where each line ends, and the differences at equal KL, as flat names and floats."""
    flat: dict[str, float] = {}
    for line in run.lines:
        last = [run.by_name[one.name] for one in line.last]
        rate = _win_rate(line, run)
        flat |= {
            f"{line.name}/reward": over_seeds([point.reward for point in last]).value,
            f"{line.name}/kl": over_seeds([point.kl for point in last]).value,
            f"{line.name}/win_rate": rate,
        }
    for contest in run.contests:
        if contest.outcome:
            name = f"equal_kl/{contest.ours} vs {contest.theirs}/difference"
            flat[name] = contest.outcome.difference
    return flat


def _win_rate(line: Line, run: ExoRun) -> float:
    start: ExoEntry = run.opponents[0]
    return shares_against(line.last, start, run.evaluations, run.judges[-1]).win.value


def _density_plots(
    prompts: Sequence[Mapping[str, Any]], colours: Mapping[str, str], output: Path
) -> list[Plot]:
    caption = (
        "Densities over the log-probability under the start, by self-normalised importance "
        "sampling and a Gaussian kernel whose width in nats stands under each panel."
    )
    first = density_plot(prompts[:1], colours, output, name="figure-3")
    found = [Plot("Figure 3: density ratio to the start", first, caption)]
    if len(prompts) > 1:
        every = density_plot(prompts, colours, output, name="figure-9")
        found.append(Plot("Figure 9: density ratio, all prompts", every, caption))
    return found


def _texts(evaluation: Mapping[str, Any]) -> dict[str, str]:
    return {one["id"]: one["response"] for one in evaluation["examples"]}
