"""The report of `sparring judge`: one match of two sides, and what the judge is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.evaluation.judging.config import HUMAN, JudgeConfig, match_name
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.metrics.estimates import Interval
from tasks.evaluation.report.document import Plot, Report, write_report
from tasks.evaluation.report.pictures import interval_picture
from tasks.settings.log import Log


def write_match_report(
    folders: Mapping[str, Path], config: JudgeConfig, output: Path, log: Log
) -> dict[str, float]:
    """Write the report of matches, by their name, and note its findings; return their shares."""
    judged = Verdicts.read(folders)
    title = next(name for name in folders if name != match_name(*HUMAN))
    pictures = [rates_picture(judged.rates, output)] if judged.won else []
    report = Report(
        title=f"{title}, judged by {config.endpoint.model}",
        facts={"judge": config.endpoint.model, "question": config.question},
        headline=judged.headline,
        pictures=pictures,
        findings=judged.findings,
        tables=judged.tables,
        examples=judged.examples,
        numbers={"judge": judged.rates},
    )
    write_report(report, output)
    for sentence in judged.findings:
        log.note(sentence)
    return {
        f"{name}/{side}": found["rates"][side]
        for name, found in judged.rates.items()
        if not found["no_verdict"]
        for side in ("win", "lose", "tie")
    }


def rates_picture(matches: Mapping[str, Mapping[str, Any]], output: Path) -> Plot:
    """Draw how often the first of each match wins, of those that have a verdict."""
    rows = {
        name: (found["rates"]["win"], Interval(**found["rates"]["win_interval"]))
        for name, found in matches.items()
        if not found["no_verdict"]
    }
    caption = "Share of prompts that the first one wins by the judge, with its 95 % interval."
    return interval_picture(rows, "Win rate by match", "share won", caption, output)
