"""What `sparring report RUN RUN …` prints: the tables of several runs as one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.cli.compare import side_of
from flows.cli.lineage import known_graph
from flows.configs.base import FlowConfig
from flows.runs.console import print_json
from flows.runs.ending import report_file, show_report_text
from flows.runs.runner import recorded_config, report_of
from tasks.evaluation.report.document import render_markdown, to_plain, write_report
from tasks.evaluation.report.joined import RunReport, join_runs
from tasks.settings.errors import ConfigError
from tasks.stages.runs.naming import find_run
from tasks.storage.files import read_json
from tasks.storage.home import current_home


def show_joined_report(
    names: list[str], console: Console, *, out: Path | None, as_json: bool
) -> None:
    """Print one report of several runs, and write it to the folder `out` where one is named.

    Raises:
        ConfigError: A run has no report, they cannot be joined, or there is something in `out`.
    """
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already: name a new folder for the joined report")
    graph = known_graph(console)
    home = current_home()
    runs = []
    for name in dict.fromkeys(find_run(home, name).id for name in names):
        _, config = recorded_config(home, find_run(home, name))
        side = side_of(graph, name, None)
        tables = read_json(report_file(report_of(name), "report.json"))["tables"]
        base = base_label(config) if isinstance(config, FlowConfig) else "-"
        runs.append(RunReport(name, base, tables, side.judges, frozenset(side.prompts)))
    if len(runs) < 2:
        raise ConfigError(f"{' and '.join(names)} are the same run: name another one to join")
    report = join_runs(runs)
    if out:
        write_report(report, out)
    if as_json:
        print_json(to_plain(report, out or Path()))
    elif out:
        show_report_text(out, console)
        console.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)
    else:
        console.print(
            render_markdown(report, Path()), markup=False, highlight=False, soft_wrap=True
        )


def base_label(config: FlowConfig) -> str:
    """Return what a run's policies were trained from, as a table calls it.

    A named start, else the model's folder or hub name, else the shape that was built.
    """
    model = config.model
    if config.start.policy:
        return config.start.policy.rpartition("/")[2][:12]
    if model.architecture:
        shape = model.architecture
        return f"{shape.kind} {shape.hidden_size}x{shape.layers}"
    return Path(model.path).name if model.path else str(model.hub)
