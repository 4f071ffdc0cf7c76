"""The report of a run: one content, written as report.md, report.json and report.html.

Prompts and outputs come from models and from data files: in markdown they stand in fences longer
than any inside them, in HTML everything is escaped and the page may load and run nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from tasks.evaluation.report.tables import (
    Table,
    escape_markdown,
    shown,
    to_csv,
    to_json,
    to_markdown,
)
from tasks.storage.files import write_atomic, write_json

CSS = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0;font-size:14px;display:block;overflow-x:auto}
th,td{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
th{border-bottom:2px solid #888}
pre{background:#f6f6f6;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0}
figure{margin:1rem 0}img{max-width:100%}figcaption,.note{color:#555;font-size:13px}
""".strip()


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


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report says, as plain values."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was run: flow, configuration digest, seed, data version, …"""

    findings: Sequence[str] = ()
    """The headline results and warnings, a sentence each."""

    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    examples: Sequence[Example] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers for report.json alone: plain and finite."""


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.md, report.json and report.html, and a CSV for every table.

    Args:
        report: What to say.
        folder: Where the files go; the plots already lie in it.

    Returns:
        The paths written, the three reports first.

    Raises:
        TypeError: If a number is nan or infinite; JSON has no such number.
    """
    folder = Path(folder)
    paths = [folder / f"report.{kind}" for kind in ("md", "json", "html")]
    write_json(paths[1], to_plain(report, folder))
    write_atomic(paths[0], render_markdown(report, folder))
    write_atomic(paths[2], render_html(report))
    for table in report.tables:
        paths.append(folder / f"{table.key}.csv")
        write_atomic(paths[-1], to_csv(table))
    return paths


def to_plain(report: Report, folder: Path) -> dict[str, Any]:
    """Return the report as plain values, for report.json.

    Args:
        report: What to say.
        folder: Where the report lies; plots are named relative to it.

    Returns:
        A dict of dicts, lists, strings and numbers.
    """
    return {
        "title": report.title,
        "facts": dict(report.facts),
        "findings": list(report.findings),
        "tables": {table.key: to_json(table) for table in report.tables},
        "plots": [
            {"title": plot.title, "files": [_relative(path, folder) for path in plot.files]}
            for plot in report.plots
        ],
        "examples": [
            {"prompt": example.prompt, "outputs": dict(example.outputs)}
            for example in report.examples
        ],
        "numbers": dict(report.numbers),
    }


def render_markdown(report: Report, folder: Path) -> str:
    """Return the report as markdown.

    Args:
        report: What to say.
        folder: Where the report lies; plots are linked relative to it.

    Returns:
        The text.
    """
    lines = [f"# {escape_markdown(report.title)}", ""]
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
        lines += ["", "## Plots", ""]
        for plot in report.plots:
            title = escape_markdown(plot.title)
            lines += [f"![{title}]({_relative(plot.files[0], folder)})", ""]
            lines += [f"{title}. {escape_markdown(plot.caption)}".rstrip(), ""]
    if report.examples:
        lines += ["", "## Examples", ""]
        for number, example in enumerate(report.examples, start=1):
            lines += [f"### Prompt {number}", "", *_fenced(example.prompt), ""]
            for model, output in example.outputs.items():
                lines += [f"**{escape_markdown(model)}**", "", *_fenced(output), ""]
    return "\n".join(lines).rstrip() + "\n"


def render_html(report: Report) -> str:
    """Return the report as one self-contained page: no scripts, nothing loaded from elsewhere.

    Args:
        report: What to say.

    Returns:
        The page; every text in it is escaped, plots are embedded as images.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(report.title)}</title><style>{CSS}</style></head><body>",
        f"<h1>{escape(report.title)}</h1>",
        _items([f"{name}: {fact}" for name, fact in report.facts.items()]),
    ]
    if report.findings:
        parts += ["<h2>Findings</h2>", _items(report.findings)]
    if report.tables:
        parts += ["<h2>Tables</h2>", *(_table(table) for table in report.tables)]
    if report.plots:
        parts += ["<h2>Plots</h2>", *(_plot(plot) for plot in report.plots)]
    if report.examples:
        parts.append("<h2>Examples</h2>")
        for number, example in enumerate(report.examples, start=1):
            parts.append(f"<h3>Prompt {number}</h3><pre>{escape(example.prompt)}</pre>")
            parts += [
                f"<h4>{escape(model)}</h4><pre>{escape(output)}</pre>"
                for model, output in example.outputs.items()
            ]
    return "\n".join([*parts, "</body></html>", ""])


def _fenced(text: str) -> list[str]:
    """A code fence that nothing inside it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _items(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _table(table: Table) -> str:
    header, rows = shown(table)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = []
    for raw, row in zip(table.rows, rows, strict=True):
        cells = [
            f'<td class="{"n" if isinstance(cell, int | float) else "t"}">{escape(text)}</td>'
            for cell, text in zip(raw, row, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f"<h3>{escape(table.title)}</h3><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>{note}"
    )


def _plot(plot: Plot) -> str:
    svg = next(path for path in map(Path, plot.files) if path.suffix == ".svg")
    data = base64.b64encode(svg.read_bytes()).decode()
    image = f'<img alt="{escape(plot.title)}" src="data:image/svg+xml;base64,{data}">'
    return (
        f"<figure><h3>{escape(plot.title)}</h3>{image}"
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
    )


def _relative(path: Path, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix()
