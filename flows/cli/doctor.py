"""`sparring doctor`: this machine and the store, or a data set before anything is trained on it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.text import Text

from flows.configs.recurring import RecurringConfig
from flows.registry import read_any_config
from flows.runs.console import print_json
from flows.runs.readiness import Finding, examine_config
from flows.runs.tables import table
from tasks.data.groups import Prompt
from tasks.data.inspection.advice import advise
from tasks.data.inspection.doctor import Inspection
from tasks.data.inspection.doctor_report import DoctorReport
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.tally import MAX_BAD_SHARE
from tasks.processes.identity import ProcessIdentity
from tasks.settings.errors import ConfigError, RecordError
from tasks.stages.leases.gpus import gpu_holders
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.remote.known_copies import is_pushed
from tasks.stages.remote.layout import check_layout
from tasks.stages.retention.dropped import dropped_mark
from tasks.stages.runs.run_store import list_runs, read_runs
from tasks.storage.errors import StorageError
from tasks.storage.fencing import read_lease
from tasks.storage.home import Home, current_home, openness
from tasks.tracking.mlflow_record.connection import tracking_place, tracking_problem
from tasks.tracking.mlflow_record.cursor import is_waiting
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import spooled_runs

LIBRARIES = ("torch", "transformers", "accelerate", "prefect", "mlflow", "dvc", "datasets")
LEAST_FREE_GB = 5
_LEVEL_STYLES = {"error": "bold red", "warning": "yellow", "note": "bright_black"}


def show_machine_report(console: Console, *, as_json: bool) -> None:
    """Print what was found about the machine, the libraries and the store."""
    _show(examine(current_home()), console, as_json=as_json)


def show_config_report(
    given: Path, overrides: Sequence[str], console: Console, *, as_json: bool
) -> bool:
    """Print of each source, file and model of a configuration whether a run could read it here.

    Returns whether it could read all of them.
    """
    _, config = read_any_config(given, overrides)
    assert isinstance(config, RecurringConfig), "every flow of the list is one"
    found = examine_config(config)
    _show(found, console, as_json=as_json)
    return all(finding.ok for finding in found)


def _show(found: Sequence[Finding], console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    marks = {True: Text("✓", style="green"), False: Text("!", style="yellow")}
    rows = [(marks[finding.ok], finding.subject, finding.detail) for finding in found]
    if rows:
        console.print(table(("", "", ""), rows))
    else:  # of a configuration alone: a machine always has something
        console.print("it names no file, data set or model: a run makes all that it reads")


def examine(home: Home) -> list[Finding]:
    """Look at the machine, the libraries and the store, which need not exist; write nothing.

    Raises:
        StorageError: A newer version wrote the store, which this one cannot judge.
    """
    folder = next(path for path in (home.root, *home.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    libraries = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, found in libraries.items() if not found]
    detail = ", ".join(f"{name} {found}" for name, found in libraries.items())
    if missing:
        detail = f"missing: {', '.join(missing)}; run `make setup`"
    return [
        Finding("python", True, platform.python_version()),
        Finding("processors", True, f"{os.cpu_count()} cores, {platform.machine()}"),
        Finding("gpus", True, _gpus()),
        Finding("libraries", not missing, detail),
        Finding("free disk", free >= LEAST_FREE_GB, f"{free:.0f} GB at {folder}"),
        *_store(home),
        *_remote(),
        *_tracking(home),
    ]


def show_data_report(
    paths: Sequence[Path],
    model: str | None,
    template: str | None,
    limits: tuple[int, int],
    console: Console,
    *,
    fields: tuple[tuple[str, str], ...] = (),
    max_bad_share: float = MAX_BAD_SHARE,
    as_json: bool,
) -> bool:
    """Print what a training on these files would meet, and how far they overlap.

    The tokenizer of `model`, a folder or hub name, counts tokens; None skips those metrics.
    `template` is a chat template by name, by default the tokenizer's own; `limits` are the longest
    prompt and the longest response, in tokens; `fields` are our names of columns with theirs, and
    `max_bad_share` the share of unreadable records that is let pass. Returns whether a run would
    take every file.
    """
    tokenizer = render = sizes = None
    if model:
        from tasks.models.tokens.conversations import render_prompt, resolve_template
        from tasks.models.tokens.encoding import Limits
        from tasks.models.tokens.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(model)
        name = resolve_template(tokenizer, template)
        sizes = Limits(max_prompt_tokens=limits[0], max_response_tokens=limits[1])

        def render(prompt: Prompt) -> str:
            return render_prompt(tokenizer, name, prompt)

    try:
        sources = [SourceConfig(path=str(path), fields=dict(fields)) for path in paths]
        found = Inspection(sources, tokenizer, render=render)
    except RecordError as error:
        raise ConfigError(str(error)) from error  # nothing has started; a run would refuse it
    report = found.report(sizes, max_bad_share)
    if as_json:
        print_json(report.to_json())
        return report.is_usable
    heading, *rows = report.rows()
    console.print(table(heading, rows))
    overlaps = [(o.one, o.other, o.first_turns, o.prompts) for o in report.overlaps]
    if overlaps:
        console.print(table(("file", "other file", "shared first turns", "prompts"), overlaps))
    show_advice(report, console)
    return report.is_usable


def show_advice(report: DoctorReport, console: Console) -> None:
    """Print why records cannot be read, with an example each, and what to know, by level."""
    reasons = [(f"{one.count:,}", one.text) for file in report.files for one in file.bad_reasons]
    if reasons:
        console.print(table(("unreadable", "where and why"), reasons))
    for file in report.files:
        for one in advise(file):
            line = Text(f"{one.level}: ", _LEVEL_STYLES[one.level])
            console.print(line.append(f"{file.path}: {one.text}", "default"), soft_wrap=True)


def _store(home: Home) -> list[Finding]:
    if not home.root.exists():
        empty = Finding("store", True, f"nothing at {home.root} yet; the first run makes it")
        return [empty, *([] if _privacy(home).ok else [_privacy(home)])]
    home.check_layout()
    return [_artifacts(home), _runs(home), _leases(home), _privacy(home)]


def _privacy(home: Home) -> Finding:
    """Say whether others, or the group's members alone, may enter the home as it is or will be."""
    try:
        problem = openness(home.root)
    except StorageError as error:  # there is no such group
        problem = str(error)
    return Finding("privacy", not problem, problem or f"{home.root} is closed to others")


def _tracking(home: Home) -> list[Finding]:
    """Say whether MLflow takes records, where it has any, and of how many runs some wait here."""
    mlruns = Path("mlruns")
    place = tracking_place(mlruns, home.root)
    if not (place.is_server or os.path.lexists(mlruns)):
        return []
    waiting = sum(map(is_waiting, spooled_runs(home.spool)))
    problem = tracking_problem(place, {run.flow for run in read_runs(home)[0]})
    parts = [problem or f"{place.pages or mlruns} takes records"]
    if waiting:
        what = "the next command that runs, or `sparring up`, sends them"
        parts.append(f"records of {waiting} run{'s' * (waiting > 1)} wait here: {what}")
    return [Finding("mlflow", not problem, "; ".join(parts))]


def _artifacts(home: Home) -> Finding:
    manifests = list_manifests(home)
    readable = {found.key for found in manifests}
    named = [path.stem for path in home.manifests.glob("*/*.json")]
    damaged = [key for key in named if key not in readable]
    remote = open_remote()
    # What was removed on purpose, or imported without its files, is not damaged.
    kept = [one for one in manifests if one.folder(home).exists() or not dropped_mark(home, one)]
    not_whole = [found.key for found in kept if damaged_files(home, found)]
    elsewhere = [key for key in not_whole if remote and is_pushed(home, remote, key)]
    damaged += [key for key in not_whole if key not in elsewhere]
    size = sum(found.size for found in manifests) / 1e9
    detail = f"{len(manifests)} artifacts, {size:.2f} GB in {home.store}"
    if remote and elsewhere:
        detail += f"; {len(elsewhere)} of them, or parts of them, on {remote.url} only"
    if damaged:
        names = ", ".join(sorted(key[:12] for key in damaged))
        detail += f"; damaged: {names}, they run again when needed"
    return Finding("store", not damaged, detail)


def _remote() -> list[Finding]:
    remote = open_remote()
    if remote is None:
        return []
    seen = [
        Finding(f"remote {one.subject}", one.state != "bad", one.detail)
        for one in remote.findings()
    ]
    if seen and seen[0].ok:
        try:
            check_layout(remote)
        except (StorageError, ConfigError) as error:
            seen.append(Finding("remote layout", False, str(error)))
    return seen


def _runs(home: Home) -> Finding:
    if damage := read_runs(home)[1]:
        return Finding("runs", False, "; ".join(damage))
    crashed = [run.id for run in list_runs(home) if run.status == "crashed"]
    detail = f"crashed: {', '.join(crashed)}; `sparring resume RUN`" if crashed else "none crashed"
    return Finding("runs", not crashed, detail)


def _leases(home: Home) -> Finding:
    stale = 0
    for path in home.leases.glob("*.json"):
        owner = read_lease(path)["owner"]  # of a damaged one nobody knows
        stale += bool(owner and ProcessIdentity.from_json(owner).is_known_dead())
    detail = f"{stale} of dead processes; the next attempt takes them over"
    return Finding("leases", not stale, detail if stale else "none is stale")


def _gpus() -> str:
    if not _version("torch"):
        return "torch is missing, which finds them"
    holders = gpu_holders()
    taken = [f"{name} with {holder}" for name, holder in holders.items() if holder]
    return f"{len(holders)}, " + (f"leased: {', '.join(taken)}" if taken else "none is leased")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
