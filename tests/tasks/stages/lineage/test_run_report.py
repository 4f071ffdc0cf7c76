"""The report of a run says whose it is, and its artifact stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.report.document import Report, write_report
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.run_report import run_pages, save_run_report
from tasks.stages.manifest import load_manifest
from tasks.stages.runs.run_names import name_outputs
from tasks.stages.runs.run_store import Run, claim_run
from tasks.storage.files import read_json, write_json
from tasks.storage.home import Home
from tests.tasks.stages.export.small_store import commit

CONFIG = {"seed": 7, "budget": {"hours": 1}, "notify": None}


def written(folder: Path) -> None:
    write_report(Report("APO", headline="APO wins"), folder)
    (folder / "figure-5.png").write_bytes(b"picture")


@pytest.fixture
def made(home: Home) -> Artifact:
    manifest = commit(home, 1, "write_apo_report", written)
    folder = manifest.folder(home)
    return Artifact(manifest.digest, folder, manifest.stage, manifest.key)


def begun(home: Home) -> Run:
    return claim_run(home, "apo", None, "my.yaml", "seed: 7\n")


def test_a_cached_report_names_the_run_that_shows_it_and_the_one_that_made_it(
    home: Home, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begun(home), begun(home)
    known = load_manifest(home, made.stage, made.key)
    assert known is not None
    provenance = {"run": first.id, "created": "2026-11-30T06:51:58+00:00", "git_commit": "abc"}
    known = replace(known, provenance=provenance)
    monkeypatch.setattr("tasks.stages.lineage.run_report.load_manifest", lambda *_: known)
    before = {path.name: path.read_bytes() for path in made.path.iterdir()}
    folders = [save_run_report(home, run, CONFIG, made) for run in (first, second)]
    assert folders == [home.runs / run.id / "report" for run in (first, second)]
    facts: list[dict[str, Any]] = [
        read_json(folder / "report.json")["identity"]["facts"] for folder in folders
    ]
    assert facts[0]["Run"] == first.id and "Report made" not in facts[0]
    assert facts[1]["Run"] == second.id
    assert facts[1]["Report made"] == (
        f"by run {first.id}, 2026-11-30 06:51 UTC; this run found it done"
    )
    assert facts[1]["Commit"] == "abc" and facts[1]["Seed"] == "7"
    assert facts[1]["Config digest"].endswith(" (my.yaml)")
    for kind in ("md", "html"):
        text = (folders[1] / f"report.{kind}").read_text()
        assert second.id in text and first.id in text and "APO wins" in text
    assert (folders[1] / "figure-5.png").read_bytes() == b"picture"
    assert {path.name: path.read_bytes() for path in made.path.iterdir()} == before
    # What may be raised when a run goes on is not in the digest.
    raised = CONFIG | {"budget": {"hours": 9}}
    again = save_run_report(home, second, raised, made)
    assert read_json(again / "report.json")["identity"]["facts"] == facts[1]
    name_outputs(home, second.id)
    named = home.named / "runs" / second.id / "report" / "report.html"
    assert second.id in named.read_text()


def test_links_lead_to_servers_that_stay(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(begun(home), prefect_flow_run="2")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:5/api")
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    assert run_pages(home, run)["Prefect"] == "http://127.0.0.1:5/runs/flow-run/2"
    ours = {"url": "http://127.0.0.1:5/api"}
    write_json(home.servers, {"prefect": ours})
    assert run_pages(home, run)["Prefect"] == "", "it ends with its runs"
    write_json(home.servers, {"prefect": ours | {"persistent": True}})
    assert run_pages(home, run)["Prefect"].endswith("/runs/flow-run/2")


def test_a_result_without_report_is_shown_where_it_lies(home: Home) -> None:
    manifest = commit(home, 1, "score_responses", lambda folder: (folder / "a").write_text("x"))
    folder = manifest.folder(home)
    made = Artifact(manifest.digest, folder, manifest.stage, manifest.key)
    assert save_run_report(home, begun(home), CONFIG, made) == folder
