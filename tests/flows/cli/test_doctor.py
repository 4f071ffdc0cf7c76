"""`sparring doctor` looks and says; it never writes, whatever it finds."""

from __future__ import annotations

import json
import socket
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli.doctor import (
    examine,
    show_config_report,
    show_data_report,
    show_machine_report,
)
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.processes.identity import current_process
from tasks.settings.errors import ConfigError
from tasks.stages.manifest import Manifest, artifact_folder, commit_manifest
from tasks.stages.runs.run_store import Run
from tasks.storage.digests import digest_tree, directory_md5
from tasks.storage.errors import StorageError
from tasks.storage.files import write_json
from tasks.storage.home import Home
from tasks.tracking.spool import Spool
from tests.flows.command import Shell

WEIGHTS = "model.safetensors"
DEAD = replace(current_process(), started=current_process().started - 1)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look where no other `mlruns` lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def add_artifact(home: Home, key: str, *, content: str = "weights") -> Path:
    folder = artifact_folder(home, "update_policy", key)
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_text(content)
    files = tuple(digest_tree(folder))
    digest = directory_md5(list(files))
    commit_manifest(home, Manifest(key, "update_policy", 1, None, 0, {}, digest, files, {}))
    return folder


def add_run(home: Home, name: str, owner: Any) -> Path:
    run = Run(name, "apo", "running", "", "2026-01-01", "2026-01-01", owner.to_json())
    write_json(home.runs / name / "run.json", asdict(run))
    return home.runs / name / "run.json"


def add_lease(home: Home, key: str, owner: Any) -> Path:
    write_json(home.leases / f"{key}.json", {"token": 1, "owner": owner and owner.to_json()})
    return home.leases / f"{key}.json"


def look(home: Home) -> dict[str, tuple[bool, str]]:
    """What is found, after seeing that looking left no trace."""
    before = snapshot(home.root.parent)
    found = {one.subject: (one.ok, one.detail) for one in examine(home)}
    assert snapshot(home.root.parent) == before
    return found


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def test_where_mlflow_takes_no_records_it_is_said_with_how_many_runs_wait(home: Home) -> None:
    Path("mlruns").write_text("no folder")
    Spool(home.spool, "a-1").run_started(flow="apo", experiment="apo", params={})
    spool = Spool(home.spool, "a-2")
    spool.stage_finished("b" * 64, "FINISHED", tags={})
    ok, detail = look(home)["mlflow"]
    assert not ok and "mlruns is no folder" in detail
    assert "records of 1 run wait here" in detail, "the other one has nothing to tell yet"


def test_before_the_first_run_nothing_is_there_and_nothing_is_made(tmp_path: Path) -> None:
    found = look(Home(tmp_path / "deep" / "home"))
    ok, detail = found["store"]
    assert ok and detail.startswith("nothing at") and detail.endswith("the first run makes it")
    assert "runs" not in found
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) in found["free disk"][1]
    assert found["libraries"][0] and "torch" in found["libraries"][1]


def test_a_group_that_nobody_has_is_said_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_GROUP", "nosuchgroup")
    found = {one.subject: one for one in examine(Home(tmp_path / "none"))}
    assert not found["privacy"].ok and "no group of that name" in found["privacy"].detail


def test_an_empty_store_is_well(home: Home) -> None:
    found = look(home)
    assert found["store"] == (True, f"0 artifacts, 0.00 GB in {home.store}")
    assert found["runs"] == (True, "none crashed")
    assert found["leases"] == (True, "none is stale")


def test_a_healthy_store_is_well(home: Home) -> None:
    add_artifact(home, "a" * 64)
    add_run(home, "apo-1", current_process())
    add_lease(home, "b" * 64, current_process())
    add_lease(home, "c" * 64, None)
    found = look(home)
    assert found["store"][1].startswith("1 artifacts")
    assert all(found[name][0] for name in ("store", "runs", "leases"))


@pytest.mark.parametrize("damage", ["missing", "shorter", "manifest"])
def test_a_damaged_artifact_is_named(home: Home, damage: str) -> None:
    add_artifact(home, "a" * 64)
    folder = add_artifact(home, "b" * 64)
    if damage == "missing":
        (folder / WEIGHTS).unlink()
    elif damage == "shorter":
        (folder / WEIGHTS).write_text("weigh")
    else:
        path = home.manifests / "update_policy" / f"{'b' * 64}.json"
        path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    ok, detail = look(home)["store"]
    assert not ok
    assert f"damaged: {'b' * 12}, they run again when needed" in detail


def test_killed_runs_and_stale_leases_say_what_to_do(home: Home) -> None:
    add_run(home, "apo-dead", DEAD)
    add_run(home, "apo-alive", current_process())
    add_lease(home, "a" * 64, DEAD)
    found = look(home)
    assert found["runs"] == (False, "crashed: apo-dead; `sparring resume RUN`")
    assert found["leases"] == (False, "1 of dead processes; the next attempt takes them over")


def test_a_lease_of_another_machine_may_be_alive(home: Home) -> None:
    elsewhere = replace(DEAD, boot="another", host=f"not-{socket.gethostname()}")
    add_lease(home, "a" * 64, elsewhere)
    assert look(home)["leases"][0]


def test_files_that_cannot_be_read_are_findings_not_failures(home: Home) -> None:
    add_run(home, "apo-1", current_process()).write_text("{")
    add_lease(home, "a" * 64, DEAD).write_text("")
    found = look(home)
    ok, detail = found["runs"]
    assert not ok and "run.json is damaged" in detail and "move that folder away" in detail
    assert found["leases"][0]


@pytest.mark.parametrize(
    ("version", "words"), [('{"layout": 99}', "upgrade sparring"), ("{", "not valid JSON")]
)
def test_a_store_of_another_version_is_not_judged(home: Home, version: str, words: str) -> None:
    (home.root / "version.json").write_text(version)
    before = snapshot(home.root)
    with pytest.raises(StorageError, match=words):
        examine(home)
    assert snapshot(home.root) == before


def test_printed_as_json_or_as_a_plain_table(home: Home, capsys: pytest.CaptureFixture) -> None:
    console = Console(width=200)
    show_machine_report(console, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [one["subject"] for one in found] == [one.subject for one in examine(home)]
    show_machine_report(console, as_json=False)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "free disk" in shown and "none crashed" in shown


PAIR = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
STRICT = (
    "{{- bos_token }}{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate') }}{%- endif %}{{- m.role + ':' + m.content }}"
    "{%- endfor %}{%- if add_generation_prompt %}assistant:{%- endif %}"
)


def data_file(folder: Path, *rows: Any) -> Path:
    path = folder / "data.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def said_of(
    path: Path, capsys: pytest.CaptureFixture, model: str | None = None, **how: Any
) -> tuple[bool, str]:
    """Whether a run would take the file, and what was printed."""
    usable = show_data_report([path], model, None, (256, 256), Console(width=200), **how)
    return usable, capsys.readouterr().out


def test_reasons_have_counts_and_an_example_and_what_to_know_has_levels(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [{**PAIR, "prompt": f"Why {n}?", "system": "Be brief."} for n in range(6)]
    path = data_file(tmp_path, *rows, '{"prompt": NaN}', "{", "{", {**PAIR, "chosen": 7})
    usable, shown = said_of(path, capsys, as_json=False)
    assert not usable
    assert f"2          │ {path}:8, 9: not JSON" in shown and f"{path}:7: NaN" in shown
    assert f"error: {path}: 4 of 10 records cannot be read" in shown
    assert f"warning: {path}: columns that nobody reads: 'system' (in 6)" in shown
    usable, shown = said_of(path, capsys, as_json=True)
    (file,) = json.loads(shown)["files"]
    assert not usable and file["bad_records"] == 4 and file["responses_per_prompt"] == {"2": 6}
    assert sorted(one["count"] for one in file["bad_reasons"]) == [1, 1, 2]
    assert file["ignored_columns"] == {"system": 6}
    assert [one["level"] for one in file["advice"]][0] == "error"


def test_a_good_file_is_fit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    usable, shown = said_of(data_file(tmp_path, PAIR), capsys, as_json=False)
    assert usable and "error" not in shown and "unreadable │ where" not in shown


def test_a_file_that_breaks_off_is_one_that_a_run_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "half.json"
    path.write_text('[{"prompt": "a", "chosen": "b", "rejected": "c"},')
    with pytest.raises(ConfigError, match=r"half\.json breaks off"):
        said_of(path, capsys, as_json=False)


def test_what_a_models_own_template_refuses_is_unreadable_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tokenizer = train_tokenizer(iter(["Why? So. No."]), 300, tmp_path / "model")
    tokenizer.chat_template = STRICT
    tokenizer.save_pretrained(tmp_path / "model")
    twice = [{"role": "user", "content": text} for text in ("Why?", "Tell me.")]
    path = data_file(tmp_path, PAIR, {**PAIR, "prompt": twice}, {**PAIR, "prompt": "How?"})
    usable, shown = said_of(path, capsys, str(tmp_path / "model"), as_json=True)
    (file,) = json.loads(shown)["files"]
    assert usable and (file["groups"], file["bad_records"]) == (2, 1)
    assert file["bad_reasons"][0]["example"].startswith(f"{path}:2: the chat template of ")
    assert file["tokens"]["prompt"]["longest"] > 0


def test_a_configuration_that_names_nothing_gets_a_sentence_and_no_empty_table(
    capsys: pytest.CaptureFixture,
) -> None:
    tiny = Path(__file__).parents[3] / "flows" / "configs" / "apo-tiny.yaml"
    assert show_config_report(tiny, [], Console(), as_json=False)
    assert capsys.readouterr().out.startswith("it names no file, data set or model")


def test_what_a_run_leaves_is_closed_to_others(untouched: Shell) -> None:
    """By the root for everybody; the files that we write say it themselves, where they may go."""
    for closed in (untouched.home.root, untouched.folder / "mlruns"):
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700, closed
    home = untouched.home
    ours = (home.manifests, home.runs, home.leases, home.spool, home.work, home.prefect)
    open_ones = {
        path.relative_to(home.root).as_posix(): oct(path.stat().st_mode)
        for folder in ours
        for path in (folder, *folder.rglob("*"))
        if path.stat().st_mode & 0o077 and not path.is_symlink()
    }
    assert not open_ones
