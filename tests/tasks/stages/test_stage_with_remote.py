"""Two homes that share nothing but a remote: what one has done, the other has done."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.manifest import list_manifests
from tasks.stages.plan import planning
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json
from tasks.storage.home import Home
from tasks.tracking.remote.opening import require_remote


def _here(home: Home) -> list[str]:
    """Return the files of artifacts in a home's store."""
    found = (path for path in home.store.glob("*/*/**/*") if path.is_file())
    return sorted(
        f"{path.relative_to(home.store).parts[0]}/{path.name}"
        for path in found
        if not path.relative_to(home.store).parts[0].startswith(".")
    )


def test_what_one_has_done_the_other_has_done(toy: Any, shared: Path, at: Any) -> None:
    at("a")
    first = toy.flow()
    began = toy.started()
    home = at("b")
    with planning() as run:
        toy.flow()
    assert [(item.state, item.reason) for item in run.planned] == [("done", "on the remote")] * 3
    again = toy.flow()
    assert again.digest == first.digest and again.metrics == first.metrics
    assert toy.started() == began
    assert _here(home) == []  # nothing was asked for
    # A later stage pulls what it reads, and nothing else.
    shard = next(one for one in list_manifests(home, "shard") if one.label == "first")
    part = Artifact(shard.digest, shard.folder(home), "shard", shard.key).part("00001")
    made = toy.pick(part)
    assert (made.path / "text").read_text() == "1 1 hello"
    assert _here(home) == ["pick/metrics.json", "pick/text", "shard/text"]
    assert not list(shared.glob("work/**/*.json")) and not list(home.work.glob("[!.]*"))


def test_metrics_lie_in_the_output(toy: Any, home: Home) -> None:
    shard = toy.shard(external_artifact(toy.source), config=toy.config(), seed=1)
    made = toy.pick(shard.part("00000"))
    assert json.loads((made.path / "metrics.json").read_text()) == {"letters": 1.0}
    assert made.metrics == {"letters": 1.0, "speed/letters": 2.0}


def test_what_was_done_before_there_was_a_remote_is_pushed(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: Any
) -> None:
    at("a")
    first = toy.flow()
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "shared"))
    assert toy.flow() == first
    at("b")
    assert toy.flow().digest == first.digest
    assert toy.started().count("join") == 1


def test_a_lost_machine_loses_no_part(
    toy: Any,
    notes: Any,
    shared: Path,
    at: Any,
    tmp_path: Path,
    child: Any,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Any,
) -> None:
    """A is killed in the middle and its home is gone; B goes on from A's parts."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "2")
    source = external_artifact(toy.source)
    config = toy.config(shards=4)
    scope = toy.shard.spec.body.__globals__
    real = scope["_trace"]

    def die_at_third(name: str) -> None:
        real(name)
        if name == "part-00002":
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        scope["_trace"] = die_at_third
        toy.shard(source, config=config, seed=1)

    home = at("a")
    assert child(work).wait()[0] == -signal.SIGKILL
    shutil.rmtree(home.root)
    home = at("b")
    with planning() as run:
        toy.shard(source, config=config, seed=1)
    assert (run.planned[0].state, run.planned[0].parts) == ("partly done", 2)
    with entered(RunContext(home, progress=notes)):
        made = toy.shard(source, config=config, seed=1)
    assert notes.notes == ["shard: resumes from 2 finished parts"]
    assert toy.started().count("part-00000") == 1 and toy.started().count("part-00003") == 1
    assert not require_remote().names("work/")
    monkeypatch.delenv("SPARRING_REMOTE")
    at("c")
    assert toy.shard(source, config=config, seed=1).digest == made.digest


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (99, r"newer version of sparring \(layout 99.*: upgrade sparring$"),
        (1, r"older version of sparring \(layout 1.*empty place, or keep the older release$"),
    ],
)
def test_a_remote_of_another_version_is_refused(
    toy: Any, shared: Path, at: Any, layout: int, words: str
) -> None:
    shared.mkdir()
    (shared / "version.json").write_text(f'{{"layout": {layout}}}')
    at("a")
    with pytest.raises(StorageError, match=words):
        toy.flow()
    assert [path.name for path in shared.rglob("*")] == ["version.json"]


def test_a_remote_that_cannot_be_written(
    toy: Any, tmp_path: Path, at: Any, monkeypatch: Any
) -> None:
    """Said before any work."""
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "no" / "where"))
    at("a")
    with pytest.raises(ConfigError, match="not mounted"):
        toy.flow()
    assert toy.started() == []


def test_two_machines_finish_at_once(
    toy: Any, shared: Path, at: Any, child: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is stopped past its lease; B does the work; A goes on and is refused."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "1")
    source = external_artifact(toy.source)

    def work() -> str:
        return str(toy.shard(source, config=toy.config(seconds=1.0), seed=1).digest)

    at("a")
    first = child(work)
    wait_until(toy.started)
    first.send(signal.SIGSTOP)
    at("b")
    code, answer = child(work).wait()
    assert code == 0, answer
    first.send(signal.SIGCONT)
    refused = first.wait()
    assert refused[0] == 1 and "lost its lease" in refused[1], refused
    (manifest,) = shared.glob("manifests/*/*.json")
    assert read_json(manifest)["provenance"]["attempt"] == 2
    at("a")
    assert work() == answer and toy.started().count("shard") == 2


@pytest.mark.parametrize("faults", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_on_an_object_store(
    toy: Any,
    notes: Any,
    s3: Any,
    bucket: str,
    at: Any,
    child: Any,
    monkeypatch: pytest.MonkeyPatch,
    faults: int,
) -> None:
    """A machine is killed in the middle, another goes on; so many of 100 requests fail."""
    s3.switch(fault_percent=faults)
    source = external_artifact(toy.source)
    config = toy.config(shards=4)
    scope = toy.shard.spec.body.__globals__
    real = scope["_trace"]

    def die_at_third(name: str) -> None:
        real(name)
        if name == "part-00002":
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        scope["_trace"] = die_at_third
        toy.shard(source, config=config, seed=1)

    home = at("a")
    assert child(work).wait()[0] == -signal.SIGKILL
    shutil.rmtree(home.root)
    home = at("b")
    with entered(RunContext(home, progress=notes)):
        made = toy.shard(source, config=config, seed=1)
        first = toy.flow()
    assert notes.notes == ["shard: resumes from 2 finished parts"]
    began = toy.started()
    home = at("c")
    assert toy.shard(source, config=config, seed=1).digest == made.digest
    assert toy.flow().digest == first.digest and toy.started() == began
    assert _here(home) == []
    assert (toy.pick(made.part("00003")).path / "text").read_text() == "1 3 hello"
    assert _here(home) == ["pick/metrics.json", "pick/text", "shard/text"]
    assert not require_remote().names("work/")
    monkeypatch.delenv("SPARRING_REMOTE")
    at("alone")
    assert toy.flow().digest == first.digest


def test_who_may_only_read(
    toy: Any, s3: Any, bucket: str, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done can be used; what is not is refused before any work."""
    at("a")
    made = toy.shard(external_artifact(toy.source), config=toy.config(), seed=1)
    began = toy.started()
    home = at("b")
    with monkeypatch.context() as inner:
        inner.setenv("AWS_ACCESS_KEY_ID", s3.reader_key)
        open_as_reader = type(require_remote())(*_address(bucket))
        with entered(RunContext(home, remote=open_as_reader)):
            again = toy.shard(external_artifact(toy.source), config=toy.config(), seed=1)
            assert again.digest == made.digest
            path = fetch_artifact(again.part("00000"), home, open_as_reader)
            assert (path / "text").read_text() == "1 0 hello"
            with pytest.raises(ConfigError):
                toy.shard(external_artifact(toy.source), config=toy.config(), seed=2)
    assert toy.started() == began


def _address(url: str) -> tuple[str, str]:
    """Return bucket and prefix."""
    name, _, prefix = url.removeprefix("s3://").partition("/")
    return name, prefix
