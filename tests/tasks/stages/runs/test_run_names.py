"""Readable paths: links that follow runs and aliases, and that DVC follows too."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.stages.runs.aliases import CHAMPION, AliasRecord, move_alias
from tasks.stages.runs.run_journal import journal_file
from tasks.stages.runs.run_names import name_outputs, output_paths
from tasks.storage.home import Home
from tasks.storage.journal import append_record
from tests.tasks.stages.export.small_store import SAMPLED, commit, groups


def ended(stage: str, label: str, key: str, state: str = "cached") -> dict[str, str]:
    return {"event": "finished", "stage": stage, "label": label, "key": key, "state": state}


def test_a_path_is_the_stage_and_the_label() -> None:
    events = [
        ended("prepare_data", "", "aa"),
        ended("update_policy", "DPO/v1", "bb", state="completed"),
        ended("update_policy", "DPO/v1", "bb"),
        ended("update_policy", "half", "cc", state="failed"),
        ended("score_responses", "RM\x1b[31m", "dd"),
        ended("score_responses", "RM\x1b[31m", "ee"),
    ]
    assert output_paths(events) == {
        "prepare_data/output": "prepare_data/aa",
        "update_policy/DPO-v1": "update_policy/bb",
        "score_responses/RM\\x1b[31m": "score_responses/dd",
        "score_responses/RM\\x1b[31m ee": "score_responses/ee",
    }


def test_links_follow_an_alias_and_dvc_follows_the_links(home: Home, tmp_path: Path) -> None:
    one, two = (commit(home, n, "score_responses", groups(train=SAMPLED[:n])) for n in (1, 2))
    for made in (one, two):
        models = {"policy": f"{made.stage}/{made.key}"}
        move_alias(home, AliasRecord(0, "apo", CHAMPION, models, {}, "apo-1", "", "why"))
    link = home.named / "aliases/apo/champion/policy"
    assert link.resolve() == two.folder(home).resolve() and not os.readlink(link).startswith("/")
    words = ["get", str(home.named), "aliases/apo/champion/policy", "-o", "got"]
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=tmp_path, check=True)
    got = {path.relative_to(tmp_path / "got") for path in (tmp_path / "got").rglob("*.jsonl*")}
    assert got and got == {path.relative_to(link) for path in link.rglob("*.jsonl*")}


def test_a_run_names_what_it_made_and_a_disk_without_links_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = commit(home, 1, "score_responses", groups(train=SAMPLED), label="RM")
    journal_file(home, "apo-1").parent.mkdir(parents=True)
    append_record(journal_file(home, "apo-1"), ended("score_responses", "RM", made.key))
    name_outputs(home, "apo-1")
    name_outputs(home, "apo-1")
    (link,) = [path for path in (home.named / "runs").rglob("*") if path.is_symlink()]
    assert link == home.named / "runs/apo-1/score_responses/RM"
    assert link.resolve() == made.folder(home).resolve()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no links on this disk")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    append_record(journal_file(home, "apo-1"), ended("score_responses", "RM 2", made.key))
    with caplog.at_level(logging.WARNING):
        name_outputs(home, "apo-1")
    assert "no links on this disk" in caplog.text and link.is_symlink()
