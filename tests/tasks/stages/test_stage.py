"""Stages are skipped when done, run again when damaged, and resume when killed, anywhere."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.artifact import external_artifact
from tasks.stages.manifest import load_manifest
from tasks.stages.runs.context import RunContext, entered
from tasks.storage import digests, faults
from tasks.storage.errors import DiskError
from tasks.storage.files import read_json, write_json
from tasks.storage.home import Home, current_home
from tasks.storage.journal import read_records
from tasks.tracking.store.cache_index import cached_objects

ROOT = Path(__file__).parents[3]


class Notes:
    """A progress sink that keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage_started(self, record: Any) -> None: ...

    def stage_finished(self, record: Any) -> None: ...

    def progress(self, title: str, done: int, total: int, unit: str) -> None: ...

    def metrics(self, title: str, values: Any, step: int | None) -> None: ...

    def note(self, title: str, text: str) -> None:
        self.notes.append(f"{title}: {text}")


def _homes(monkeypatch: pytest.MonkeyPatch, toy: Any, folder: Path) -> Home:
    """Give the toy an empty home and trace."""
    monkeypatch.setenv("SPARRING_HOME", str(folder))
    toy.trace.unlink(missing_ok=True)
    return current_home().ensure()


def test_a_done_stage_is_skipped(toy: Any) -> None:
    first = toy.flow()
    began = toy.started()
    assert began.count("shard") == 2 and began.count("join") == 1
    assert toy.flow() == first
    assert toy.started() == began
    assert (first.path / "text").read_text() == "1 0 hello\n1 1 hello\n2 0 hello"
    assert first.metrics == {"texts": 3.0}


def test_a_missing_file_comes_from_the_cache(toy: Any) -> None:
    result = toy.flow()
    (result.path / "text").unlink()
    sink = Notes()
    with entered(RunContext(current_home(), progress=sink)):
        assert toy.flow() == result
    assert toy.started().count("join") == 1 and (result.path / "text").is_file()
    assert len(sink.notes) == 1 and "text is missing; a good copy was in" in sink.notes[0]


def test_a_file_that_is_missing_in_the_cache_too_is_said_and_made_again(toy: Any) -> None:
    result = toy.flow()
    before = load_manifest(current_home(), "join", result.key)
    (result.path / "text").unlink()
    (file,) = [one for one in before.files if one.path == "text"]
    cached_objects(current_home().store)[file.md5].unlink()
    sink = Notes()
    with entered(RunContext(current_home(), progress=sink)):
        assert toy.flow() == result
    assert toy.started().count("join") == 2 and toy.started().count("shard") == 2
    assert len(sink.notes) == 1 and "text is missing; the stage runs again" in sink.notes[0]
    after = load_manifest(current_home(), "join", result.key)
    assert after.provenance["attempt"] == before.provenance["attempt"] + 1


def test_a_flipped_byte_is_found(toy: Any) -> None:
    result = toy.flow()
    file = result.path / "text"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("hello", "hullo"))
    assert toy.flow() == result and toy.started().count("join") == 2
    assert "hullo" not in file.read_text()


def test_a_damaged_manifest_is_not_believed(toy: Any, home: Home) -> None:
    result = toy.flow()
    path = home.manifests / "join" / f"{result.key}.json"
    path.write_text(path.read_text().replace('"size": ', '"size": 1'))
    assert toy.flow() == result
    assert toy.started().count("join") == 2
    # Nor one that only its seal gives away: the files are as it says.
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1'))
    assert toy.flow() == result
    assert toy.started().count("join") == 3


def test_parts_have_digests_of_their_own(toy: Any, tmp_path: Path) -> None:
    source = external_artifact(toy.source)
    assert source.digest == "5d41402abc4b2a76b9719d911017c592"  # md5 of "hello"
    made = toy.shard(source, config=toy.config(shards=2), seed=1)
    part = made.part("00001")
    assert part.digest == external_artifact(part.path).digest != made.digest
    assert part.part("text").digest == external_artifact(part.path / "text").digest
    assert [file.path for file in made.files()] == ["00000/text", "00001/text", "metrics.json"]
    folder = external_artifact(made.path)
    assert folder.digest == made.digest
    assert folder.part("00001").digest == part.digest
    with pytest.raises(ConfigError, match="no part '0001'.*00001"):
        made.part("0001")
    with pytest.raises(ConfigError, match="no file or folder"):
        external_artifact(tmp_path / "nowhere")


def test_a_disk_too_full_for_the_digests_is_not_the_inputs_fault(
    toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    shutil.copyfile(toy.source, other)
    # Files this young are not remembered, because they may change within the clock's tick.
    monkeypatch.setattr(digests, "_UNSETTLED_NS", -1)
    monkeypatch.setenv("SPARRING_FAULT", f"enospc@{faults.fault_count() + 1}")
    with pytest.raises(DiskError, match="the disk is full"):
        external_artifact(other)


def test_a_failed_body_keeps_its_parts(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = external_artifact(toy.source)
    call = {"config": toy.config(shards=3), "seed": 1}
    real = toy.shard.spec.body.__globals__["_write"]
    count = iter(range(100))

    def fail_at_second(folder: Path, text: str) -> None:
        if next(count) == 1:
            raise ValueError("no more")
        real(folder, text)

    monkeypatch.setitem(toy.shard.spec.body.__globals__, "_write", fail_at_second)
    with entered(RunContext(current_home())) as run, pytest.raises(ValueError, match="no more"):
        toy.shard(source, **call)
    assert [(record.state, record.error) for record in run.records] == [
        ("failed", "ValueError: no more")
    ]
    monkeypatch.setitem(toy.shard.spec.body.__globals__, "_write", real)
    (spent,) = current_home().work.glob("*/seconds.json")
    assert read_json(spent) == pytest.approx(run.records[0].seconds, abs=0.001)
    write_json(spent, 1000.0)
    done = toy.shard(source, **call)
    made = load_manifest(current_home(), done.stage, done.key)
    assert made and 1000 < made.provenance["seconds"] < 1100, "the time of the first attempt counts"
    assert toy.started() == [
        "shard", "part-00000", "part-00001", "shard", "part-00001", "part-00002",
    ]  # fmt: skip
    assert not list(current_home().work.iterdir())


def test_wrong_arguments_are_named(toy: Any) -> None:
    source = external_artifact(toy.source)
    with pytest.raises(TypeError, match="source must be an Artifact.*external_artifact"):
        toy.shard(str(toy.source), config=toy.config(), seed=1)
    with pytest.raises(TypeError, match="seed must be an integer, got '1'"):
        toy.shard(source, config=toy.config(), seed="1")
    with pytest.raises(TypeError, match="config.x is a .*set"):
        toy.shard(source, config={"x": {1}}, seed=1)
    with pytest.raises(TypeError, match="missing a required argument: 'seed'"):
        toy.shard(source, config=toy.config())


def test_eight_starters_run_once(toy: Any, child: Any) -> None:
    source = external_artifact(toy.source)
    config = toy.config(seconds=0.5)
    children = [child(lambda: toy.shard(source, config=config, seed=1).digest) for _ in range(8)]
    answers = [process.wait() for process in children]
    assert len(set(answers)) == 1 and answers[0][0] == 0, answers
    assert toy.started().count("shard") == 1


def test_sigterm_ends_a_stage_and_frees_it(toy: Any, child: Any, wait_until: Any) -> None:
    source = external_artifact(toy.source)
    journal = current_home().runs / "r" / "stages.journal"

    def work() -> None:
        with entered(RunContext(current_home(), "r", journal=journal)):
            toy.shard(source, config=toy.config(seconds=30), seed=1)

    process = child(work)
    wait_until(toy.started)
    process.send(signal.SIGTERM)
    assert process.wait() == (1, "Terminated: ended by SIGTERM")
    (lease,) = current_home().leases.glob("*.json")
    assert read_json(lease)["owner"] is None
    assert [record["state"] for record in read_records(journal)] == ["running", "interrupted"]


def _kill_and_resume(
    toy: Any, child: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, step: int
) -> None:
    """Fail the flow at durable operations, a step apart, each in a new home, and run it again."""
    _homes(monkeypatch, toy, tmp_path / "whole")
    code, answer = child(lambda: f"{toy.flow().digest} {faults.fault_count()}").wait()
    assert code == 0, answer
    digest, count = answer.split()
    assert int(count) > 100
    for number in range(1, int(count) + 1, step):
        home = _homes(monkeypatch, toy, tmp_path / str(number))
        code, answer = child(lambda: toy.flow().digest, SPARRING_FAULT=f"{fault}@{number}").wait()
        where = f"{fault}@{number}: {answer}"
        if fault == "kill":
            assert code == -signal.SIGKILL, where
        done = {path.parent.name + path.name for path in home.manifests.glob("*/*.json")}
        began = len(toy.started())
        code, answer = child(lambda: toy.flow().digest).wait()
        assert (code, answer) == (0, digest), where
        # Nothing whose manifest was committed before the kill has begun again.
        again = [name for name in toy.started()[began:] if not name.startswith("part")]
        assert len(again) == 3 - len(done), where
        assert not list(home.work.glob("[!.]*")), where


@pytest.mark.parametrize(("fault", "step"), [("kill", 11), ("enospc", 23)])
def test_resume_after_some_faults(
    toy: Any, child: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, step: int
) -> None:
    _kill_and_resume(toy, child, monkeypatch, tmp_path, fault, step)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "enospc", "eio"])
def test_resume_after_every_fault(
    toy: Any, child: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    _kill_and_resume(toy, child, monkeypatch, tmp_path, fault, step=1)


def test_nothing_heavy_is_imported() -> None:
    """The wrapper, its planning and a skipped stage need neither torch, mlflow, dvc nor prefect."""
    script = (
        "import sys, tasks.stages.prefect_task, tasks.stages.runs.run_store, tasks.stages.plan\n"
        "import tasks.tracking.mlflow_record, tasks.tracking.store.dvc_store\n"
        "import tasks.stages.versions\n"
        "print({'torch', 'mlflow', 'dvc', 'prefect'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
