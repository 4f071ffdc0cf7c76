"""The report of an AVA run: accuracies, the matches of the paper's tables, reward hacking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.ava.accuracies import (
    RewardLine,
    accuracy,
    accuracy_findings,
    accuracy_table,
    reward_lines,
)
from tasks.evaluation.ava.arm_lines import Evaluations, Line, contender, interval_of, lines_of
from tasks.evaluation.ava.config import AvaReportConfig
from tasks.evaluation.ava.courses import course_plot, courses_of
from tasks.evaluation.ava.exact_matches import by_exact_match, exact_table
from tasks.evaluation.ava.matches import Match, match_findings, match_tables, matches_of
from tasks.evaluation.ava.proxies import proxy_findings, proxy_table
from tasks.evaluation.ava.token_rewards import token_section
from tasks.evaluation.config import EVALUATION, EXACT_MATCH
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.metrics.estimates import Estimate
from tasks.evaluation.metrics.judge_accuracy import JudgeAccuracy, judge_accuracies
from tasks.evaluation.metrics.length_drift import unfinished
from tasks.evaluation.report.data import asked, compared_examples, data_sentence
from tasks.evaluation.report.document import Example, Plot, Report, write_report
from tasks.evaluation.report.headline import Contender, headline, summary_table
from tasks.evaluation.report.pictures import (
    Stop,
    default_looks,
    interval_picture,
    kl_picture,
)
from tasks.evaluation.report.tables import Table
from tasks.settings.log import Log
from tasks.storage.files import read_json


@dataclass(frozen=True, slots=True)
class AvaRun:
    """The evaluations of a run, sorted into lines and matches."""

    config: AvaReportConfig
    """What the run says of them."""
    evaluations: Evaluations
    """Of the contenders, by name."""
    reward_models: Evaluations
    """Of the reward models, those that judge among them, by name."""
    lines: list[Line]
    """The contenders, the start first."""
    contenders: list[Contender]
    """The lines with their rewards by the judge that decides."""
    rewards: list[RewardLine]
    """The arms' reward models."""
    matches: list[Match]
    """Those of the paper's tables."""
    accuracies: list[JudgeAccuracy]
    """How often the judges are right that are reward models."""

    @classmethod
    def of(
        cls, evaluations: Evaluations, reward_models: Evaluations, config: AvaReportConfig
    ) -> AvaRun:
        """Sort the contents of evaluation.json, by the names of the configuration.

        Raises:
            ConfigError: An entry has no evaluation, or a judge did not score it.
        """
        lines = sorted(lines_of(config.entries), key=lambda line: line.first.kind != "start")
        return cls(
            config,
            evaluations,
            reward_models,
            lines,
            [contender(line, evaluations, config.judges[0]) for line in lines],
            reward_lines(config.rewards),
            matches_of(lines, evaluations, config.judges),
            judge_accuracies(config.testers, reward_models),
        )

    @property
    def judge(self) -> str:
        """Who decides what wins."""
        return self.config.judges[0]

    @property
    def is_exact(self) -> bool:
        """Whether answers were compared by the number that they come to."""
        return EXACT_MATCH in self.config.judges

    @property
    def arms(self) -> list[tuple[Line, Contender]]:
        """The lines of the arms, without the start and the chosen responses."""
        both = zip(self.lines, self.contenders, strict=True)
        return [one for one in both if one[0].first.kind not in ("start", "chosen")]

    @property
    def usable(self) -> list[Contender]:
        """The start and every policy that one could use; best-of-N where there is no policy."""
        trained = [one for one in self.arms if one[0].first.kind != "best_of_n"] or self.arms
        return [self.contenders[0], *(found for _, found in trained)]


def assemble_ava_report(
    policies: Mapping[str, Path],
    reward_models: Mapping[str, Path],
    diagnoses: Mapping[str, Path],
    start_scores: Mapping[str, Path],
    examination: Path,
    config: AvaReportConfig,
    output: Path,
    log: Log,
    verdicts: Mapping[str, Path] | None = None,
) -> dict[str, float]:
    """Write the report and CSVs of the stage `write_ava_report` from its inputs' folders."""
    run = AvaRun.of(
        {name: read_json(path / EVALUATION) for name, path in policies.items()},
        {name: read_json(path / EVALUATION) for name, path in reward_models.items()},
        config,
    )
    judged = Verdicts.read(verdicts or {})
    sentences, flat = [*findings(run), *judged.findings], headlines(run)
    sentences += _not_shown(run, by_people=judged.by_people)
    tokens = token_section(config.rewards, diagnoses, output)
    courses = courses_of(config, run.evaluations, start_scores)
    start = run.evaluations[run.lines[0].first.name]
    report = Report(
        title="AVA and its baselines",
        facts={"judge": run.judge, "test prompts": asked(start), **config.facts},
        headline=headline(run.usable, run.judge, run.accuracies),
        pictures=pictures(run, output),
        findings=[data_sentence(examination), *sentences],
        tables=[*tables(run), *judged.tables],
        plots=[course_plot(courses, run.judge, output)] if courses else [],
        sections=[tokens] if tokens else [],
        examples=[*examples(run), *judged.examples],
        numbers={"headlines": flat, "judge": judged.rates},
    )
    write_report(report, output)
    for sentence in (*sentences, *(tokens.notes if tokens else ())):
        log.note(sentence)
    return flat


def findings(run: AvaRun) -> list[str]:
    """Say what the run found, in sentences that say what the intervals allow."""
    ended = {
        line.name: min(run.evaluations[one.name]["habits"]["ended"] for one in line.entries)
        for line in (run.lines[0], *(line for line, _ in run.arms))
    }
    return [
        *(one.sentence for one in run.accuracies),
        *unfinished(ended, "sampling.max_new_tokens"),
        *accuracy_findings(run.rewards, run.reward_models),
        *match_findings(run.matches, run.judge),
        *proxy_findings(run.arms, run.contenders[0], run.evaluations, run.judge),
    ]


def tables(run: AvaRun) -> list[Table]:
    """Return the tables that the run has numbers for."""
    gained = proxy_table(run.arms, run.contenders[0], run.evaluations, run.judge)
    return [
        *([summary_table(run.usable, run.judge)] if len(run.usable) > 1 else []),
        *([accuracy_table(run.rewards, run.reward_models)] if run.rewards else []),
        *match_tables(run.matches),
        *([exact_table(run.lines, run.evaluations)] if run.is_exact else []),
        *([gained] if gained else []),
    ]


def pictures(run: AvaRun, output: Path) -> list[Plot]:
    """Draw the reward of every line with its interval, and by KL; nothing of the start alone."""
    if len(run.usable) < 2:
        return []
    rewards = {one.name: (one.reward.value, interval_of(one.reward)) for one in run.usable}
    label, caption = f"{run.judge} reward", "Mean over the test prompts with its 95 % interval."
    score = interval_picture(rewards, "Score by policy", label, caption, output)
    start = Estimate(0.0, 0.0, 1)
    stops = {
        one.name: [Stop(0, one.reward, one.kl if number else start)]
        for number, one in enumerate(run.usable)
    }
    by_kl = kl_picture(stops, run.judge, output, default_looks(list(stops)))
    return [score, *([by_kl] if by_kl else [])]


def examples(run: AvaRun) -> list[Example]:
    """Return prompts with the outputs of every line's first seed."""
    found = {line.name: run.evaluations[line.first.name] for line in run.lines}
    return compared_examples(found, run.config.judges, run.config.examples)


def headlines(run: AvaRun) -> dict[str, float]:
    """Return accuracies, rewards and leads as flat names and floats."""
    flat = {}
    for line in run.rewards:
        for reading in ("last", "return"):
            if found := accuracy(line, run.reward_models, "test", reading):
                flat[f"{line.name}/accuracy_{reading}"] = found.value
    for _, one in run.arms:
        flat[f"{one.name}/reward"] = one.reward.value
        if one.kl is not None:
            flat[f"{one.name}/kl"] = one.kl.value
    if run.is_exact:
        for one in by_exact_match(run.lines, run.evaluations):
            flat[f"{one.name}/{EXACT_MATCH}"] = one.reward.value
    for match in run.matches:
        flat[f"{match.ours.name} vs {match.theirs.name}/lead"] = match.decided.lead.value
    return flat


def _not_shown(run: AvaRun, *, by_people: bool) -> Iterator[str]:
    seeds = [len(line.entries) for line, _ in run.arms]
    seeds += [len(line.entries) for line in run.rewards]
    if single := seeds.count(1):
        yield (
            f"not shown: how other seeds end; {single} of {len(seeds)} arms have one seed, and the "
            "intervals of these are over prompts alone"
        )
    if run.judge in run.config.testers:
        where = ", beyond the matches that they judged" if by_people else ""
        yield (
            f"not shown: whether people would prefer the answers{where}; {run.judge} is a model of "
            "their preferences"
        )
