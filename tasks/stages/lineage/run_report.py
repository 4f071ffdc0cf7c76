"""The report of a run as it is shown: a copy beside the run's records that says whose it is.

`runs/RUN/report/` has report.md, .html and .json with run, date, commit, seed, configuration and
pages; the plots and tables beside them are links into the store. It can be written again from the
artifact at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.evaluation.report.report_identity import (
    Identity,
    identify_html,
    identify_json,
    identify_markdown,
)
from tasks.stages.artifact import Artifact
from tasks.stages.manifest import Manifest, load_manifest
from tasks.stages.runs.run_store import Run, run_folder
from tasks.stages.runs.tracking_events import prefect_tags, without_budgets
from tasks.storage.digests import sha256_json
from tasks.storage.durable import make_folder
from tasks.storage.errors import CorruptError
from tasks.storage.files import publish_link, read_json, write_atomic, write_json
from tasks.storage.home import Home
from tasks.storage.sealed import read_either
from tasks.tracking.mlflow_record.connection import tracking_place
from tasks.tracking.mlflow_record.links import logged_pages

FOLDER = "report"
"""The folder of the copy, in that of the run."""


def save_run_report(home: Home, run: Run, config: Mapping[str, Any], result: Artifact) -> Path:
    """Write the report that a run shows, and return its folder.

    Args:
        home: The home of run and artifact.
        run: Whose report it is, whoever made it.
        config: The run's configuration as plain values.
        result: What the flow returned, on this machine.

    Returns:
        The artifact's own folder where there is no report in it.

    Raises:
        DiskError: When the disk refuses.
    """
    manifest = load_manifest(home, result.stage, result.key)
    texts = {path.name: path for path in sorted(result.path.glob("report.*"))}
    if manifest is None or not texts:
        return result.path
    shown = run_folder(home, run.id) / FOLDER
    identity = Identity(run.id, _facts(run, config, manifest), run_pages(home, run))
    make_folder(shown)
    for name, path in texts.items():
        if path.suffix == ".json":
            values = identify_json(read_json(path), identity)
            if not _is_written(shown / name, values, read_json):
                write_json(shown / name, values)
            continue
        identify = identify_html if path.suffix == ".html" else identify_markdown
        text = identify(path.read_text(encoding="utf-8"), identity)
        if not _is_written(shown / name, text.encode(), Path.read_bytes):
            write_atomic(shown / name, text)
    _link_the_rest(shown, {path.name: path for path in result.path.iterdir()}, texts)
    return shown


def run_pages(home: Home, run: Run) -> dict[str, str]:
    """Return the addresses of a run's pages in MLflow and Prefect, empty without a lasting server.

    A server that is only there for a run is gone when somebody follows its link.
    """
    pages = {}
    if fragment := logged_pages(home.spool).get(("run", run.id)):
        site = tracking_place(Path("mlruns"), home.root).pages
        pages["MLflow"] = f"{site}/{fragment}" if site else ""
    if run.prefect_flow_run:
        address = prefect_tags(run.prefect_flow_run).get("sparring.prefect.url", "")
        pages["Prefect"] = "" if _is_passing(home, address) else address
    return pages


def _facts(run: Run, config: Mapping[str, Any], made: Manifest) -> dict[str, str]:
    facts = {"Run": run.id, "Begun": _minute(run.started)}
    maker, created = (str(made.provenance.get(name, "")) for name in ("run", "created"))
    if maker != run.id:
        by = f"by run {maker}" if maker else "outside of a run"
        facts["Report made"] = f"{by}, {_minute(created)}; this run found it done"
    commit = str(made.provenance.get("git_commit") or "")
    facts["Commit"] = commit or "none, the code lies in no git repository"
    if config.get("seed") is not None:
        facts["Seed"] = str(config["seed"])
    file = f" ({run.config_path})" if run.config_path else ""
    facts["Config digest"] = f"{sha256_json(without_budgets(config))}{file}"
    return facts


def _is_passing(home: Home, address: str) -> bool:
    """Say whether a page is one of a Prefect server of ours that ends with its runs."""
    try:
        record = read_either(home.servers).get("prefect", {})
    except FileNotFoundError:
        return False
    site = str(record.get("url", "")).removesuffix("/api")
    return bool(site) and address.startswith(site) and not record.get("persistent")


def _link_the_rest(shown: Path, beside: Mapping[str, Path], texts: Mapping[str, Path]) -> None:
    """Make links to what else lies in the artifact; a disk without links has the page alone."""
    with suppress(OSError):
        for link in shown.iterdir():
            if link.is_symlink() and (link.name not in beside or link.name in texts):
                link.unlink(missing_ok=True)
        for name, path in beside.items():
            target = os.path.relpath(path, shown)
            if name not in texts and not _leads_to(shown / name, target):
                publish_link(shown / name, target)


def _is_written(path: Path, content: object, read: Callable[[Path], object]) -> bool:
    # Who only looks writes nothing; a copy that is damaged is written anew.
    try:
        return read(path) == content
    except (FileNotFoundError, CorruptError):
        return False


def _leads_to(link: Path, target: str) -> bool:
    return link.is_symlink() and os.readlink(link) == target


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"
