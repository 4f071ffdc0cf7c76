"""The report of a run: one content, written as report.md, report.json and report.html.

Prompts and outputs come from models and from data files: in markdown they stand in fences longer
than any inside them, in HTML everything is escaped and the page may load and run nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.evaluation.report.heat_map import HeatMap
from tasks.evaluation.report.pages import page_template
from tasks.evaluation.report.tables import (
    Table,
    escape_markdown,
    shown,
    to_csv,
    to_json,
    to_markdown,
    without_empty_columns,
)
from tasks.storage.files import write_atomic, write_json

_PAGE = Path(__file__).with_name("report.html.j2")
READING = (
    "± is one standard error; what stands in brackets or behind “95 %” is a 95 % interval. Both "
    "are over test prompts, paired where two are compared, and over seeds where there are several. "
    "What an interval leaves open – it holds 0, or of a share one half – is called undecided."
)
"""How every number of a report is read, said once."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot that already lies in the report's folder."""

    title: str
    files: Sequence[Path]
    """PNG, SVG and CSV, as `plots` returns them."""

    caption: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with the outputs of several models."""

    prompt: str
    outputs: Mapping[str, str]
    """The outputs by model, for example start, baseline and APO."""

    turns: Sequence[tuple[str, str]] = ()
    """Role and text of what came before the prompt: the system prompt, earlier turns."""

    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each judge gives to an output, by model."""

    def scores_of(self, model: str) -> str:
        """Return the scores of a model's output in words; empty where nobody scored it."""
        given = self.scores.get(model, {})
        return ", ".join(f"{judge} {score:+.3f}" for judge, score in given.items())


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs together under a heading of its own, behind the other tables and plots."""

    title: str
    notes: Sequence[str] = ()
    """What it found, a sentence each."""

    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    heat_maps: Sequence[HeatMap] = ()
    """Rewards of tokens, which only the HTML shows; the others name the page with more of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report says, as plain values."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was run: flow, configuration digest, seed, data version, …"""

    headline: str = ""
    """Who won, by how much, at what KL, and what is undecided."""

    pictures: Sequence[Plot] = ()
    """What is seen first, below the headline: two small plots."""

    findings: Sequence[str] = ()
    """The headline results and warnings, a sentence each."""

    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    sections: Sequence[Section] = ()
    examples: Sequence[Example] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers for report.json alone: plain and finite."""

    @property
    def all_tables(self) -> list[Table]:
        """Its tables, those of its sections too."""
        return [*self.tables, *(table for one in self.sections for table in one.tables)]

    @property
    def all_plots(self) -> list[Plot]:
        """Its plots, those of its sections too."""
        return [*self.plots, *(plot for one in self.sections for plot in one.plots)]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.md, report.json, report.html and a CSV per table; return their paths in order.

    The plots already lie in the folder. Columns in which nothing stands are left out.

    Raises:
        TypeError: If a number is nan or infinite; JSON has no such number.
    """
    folder, report = Path(folder), _without_empty_columns(report)
    paths = [folder / f"report.{kind}" for kind in ("md", "json", "html")]
    write_json(paths[1], to_plain(report, folder))
    write_atomic(paths[0], render_markdown(report, folder))
    write_atomic(paths[2], render_html(report))
    for table in report.all_tables:
        paths.append(folder / f"{table.key}.csv")
        write_atomic(paths[-1], to_csv(table))
    return paths


def to_plain(report: Report, folder: Path) -> dict[str, Any]:
    """Return the report as plain values for report.json; plots are named relative to the folder."""
    sections = [_plain_section(one) for one in report.sections]
    return {
        "title": report.title,
        "headline": report.headline,
        **({"reading": READING} if report.headline else {}),
        "facts": dict(report.facts),
        "findings": list(report.findings),
        "tables": {table.key: to_json(table) for table in report.all_tables},
        **({"pictures": _plain_plots(report.pictures, folder)} if report.pictures else {}),
        "plots": _plain_plots(report.all_plots, folder),
        "examples": [_plain_example(example) for example in report.examples],
        "numbers": dict(report.numbers),
        **({"sections": sections} if sections else {}),
    }


def _without_empty_columns(report: Report) -> Report:
    sections = [
        replace(one, tables=[without_empty_columns(table) for table in one.tables])
        for one in report.sections
    ]
    tables = [without_empty_columns(table) for table in report.tables]
    return replace(report, tables=tables, sections=sections)


def _plain_plots(plots: Sequence[Plot], folder: Path) -> list[dict[str, Any]]:
    return [
        {"title": plot.title, "files": [_relative(path, folder) for path in plot.files]}
        for plot in plots
    ]


def _plain_example(example: Example) -> dict[str, Any]:
    plain: dict[str, Any] = {"prompt": example.prompt, "outputs": dict(example.outputs)}
    if example.turns:
        plain["turns"] = [{"role": role, "content": text} for role, text in example.turns]
    if example.scores:
        plain["scores"] = {model: dict(given) for model, given in example.scores.items()}
    return plain


def _plain_section(section: Section) -> dict[str, Any]:
    """Return what a section says beside its tables and plots, which stand among the report's."""
    pages = {one.title: one.page for one in section.heat_maps}
    return {"title": section.title, "notes": list(section.notes), "heat_maps": pages}


def render_markdown(report: Report, folder: Path) -> str:
    """Return the report as markdown, with plots linked relative to the folder."""
    lines = [f"# {escape_markdown(report.title)}", ""]
    if report.headline:
        lines += [f"**{escape_markdown(report.headline)}**", ""]
    lines += _plots(report.pictures, folder)
    if report.headline:
        lines += [READING, ""]
    lines += [
        f"- {escape_markdown(name)}: {escape_markdown(fact)}" for name, fact in report.facts.items()
    ]
    if report.findings:
        lines += ["", "## Findings", ""]
        lines += [f"- {escape_markdown(finding)}" for finding in report.findings]
    if report.tables:
        lines += ["", "## Tables", ""]
        lines += [to_markdown(table) for table in report.tables]
    if report.plots:
        lines += ["", "## Plots", "", *_plots(report.plots, folder)]
    for section in report.sections:
        lines += ["", f"## {escape_markdown(section.title)}", ""]
        lines += [f"- {escape_markdown(note)}" for note in section.notes]
        lines += ["", *(to_markdown(table) for table in section.tables)]
        lines += _plots(section.plots, folder)
        pages = {one.title: one.page for one in section.heat_maps if one.page}
        lines += [f"- [{escape_markdown(title)}]({page})" for title, page in pages.items()]
    if report.examples:
        lines += ["", "## Examples", ""]
        for number, example in enumerate(report.examples, start=1):
            lines += [f"### Prompt {number}", ""]
            for role, text in example.turns:
                lines += [f"{escape_markdown(role)}:", "", *_fenced(text), ""]
            lines += [*_fenced(example.prompt), ""]
            for model, output in example.outputs.items():
                said = f": {scores}" if (scores := example.scores_of(model)) else ""
                lines += [f"**{escape_markdown(model)}**{escape_markdown(said)}", ""]
                lines += [*_fenced(output), ""]
    return "\n".join(lines).rstrip() + "\n"


def render_html(report: Report) -> str:
    """Return the report as one self-contained page: no scripts, nothing loaded from elsewhere.

    Every text in it is escaped, plots are embedded as images.
    """
    page = page_template(_PAGE, keep_trailing_newline=True)
    return page.render(report=report, reading=READING, shown=shown, image=_image)


def _plots(plots: Sequence[Plot], folder: Path) -> list[str]:
    """Lines that show plots, linked relative to the folder."""
    lines = []
    for plot in plots:
        title = escape_markdown(plot.title)
        lines += [f"![{title}]({_relative(plot.files[0], folder)})", ""]
        lines += [f"{title}. {escape_markdown(plot.caption)}".rstrip(), ""]
    return lines


def _fenced(text: str) -> list[str]:
    """A code fence that nothing inside it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _image(plot: Plot) -> str:
    """Return a plot's SVG as an address that holds the whole image."""
    svg = next(path for path in map(Path, plot.files) if path.suffix == ".svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"


def _relative(path: Path, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix()
