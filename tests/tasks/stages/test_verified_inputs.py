"""No stage reads what is not what its maker committed: it is repaired, made again, or refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import StageError
from tasks.stages.artifact import ArtifactLostError, committed_artifact, external_artifact
from tasks.stages.lookup import find_status
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.plan import planning
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import Home
from tasks.tracking.store import verified_files
from tests.tasks.stages.retention.housekeeping import check_consistent


def flip(path: Path) -> None:
    """One bit, with the size and the time of change as they were."""
    times = path.stat()
    os.chmod(path, 0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def shard(toy: Any) -> Any:
    return toy.shard(external_artifact(toy.source), config=toy.config(shards=2), seed=1)


def joined(toy: Any, made: Any) -> str:
    return str((toy.join([made]).path / "text").read_text())


@pytest.fixture
def run(home: Home) -> Any:
    with entered(RunContext(home)) as context:
        yield context


def test_an_input_damaged_before_its_use_is_made_again(toy: Any, home: Home, run: Any) -> None:
    """It was consumed, and the wrong result stored under the right key."""
    made = shard(toy)
    right = joined(toy, made)
    (old,) = list_manifests(home, "join")
    shutil.rmtree(old.folder(home))
    flip(next(made.path.rglob("text")))
    assert joined(toy, made) == right
    assert toy.started().count("shard") == 2 and not damaged_files(home, old, verify=True)
    check_consistent(home)


def test_a_damaged_output_is_seen_by_the_look_up_and_by_the_plan(
    toy: Any, home: Home, run: Any
) -> None:
    made = shard(toy)
    flip(next(made.path.rglob("text")))
    with planning(home) as plan:
        shard(toy)
    assert plan.planned[0].state == "to run" and "SHA-256" in plan.planned[0].reason
    assert shard(toy) == made and toy.started().count("shard") == 2


def test_a_damaged_input_of_another_run_is_refused_by_name(toy: Any, home: Home) -> None:
    with entered(RunContext(home)):
        made = shard(toy)
    flip(next(made.path.rglob("text")))
    with (
        entered(RunContext(home)),
        pytest.raises(ArtifactLostError, match=r"text does not have the SHA-256.*no other place"),
    ):
        toy.join([made])


def test_a_good_copy_in_the_cache_repairs_it(
    toy: Any, home: Home, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk where the cache holds copies, not links."""
    made = shard(toy)
    for path in list(made.path.rglob("text")):
        shutil.copy(path, path.with_name("copy"))
        path.with_name("copy").replace(path)
        flip(path)
    assert shard(toy) == made and toy.started().count("shard") == 1
    assert "a good copy was in the store's cache" in caplog.text
    (manifest,) = list_manifests(home, "shard")
    assert not damaged_files(home, manifest, verify=True)


def test_a_good_copy_on_the_remote_repairs_it(
    toy: Any, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    with entered(RunContext(home)):
        made = shard(toy)
    flip(next(made.path.rglob("text")))
    (manifest,) = list_manifests(home, "shard")
    fetch_artifact(committed_artifact(home, manifest), home)
    assert not damaged_files(home, manifest, verify=True)
    assert toy.started().count("shard") == 1


def test_each_file_is_read_once(
    toy: Any, home: Home, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the commit none is; a lost memory costs one reading; `verify` reads all."""
    made, read = shard(toy), list[Path]()
    real = verified_files.sha256_file
    monkeypatch.setattr(verified_files, "sha256_file", lambda path: read.append(path) or real(path))
    toy.join([made])
    assert not read
    (home.root / "verified" / f"{made.key}.json").write_text("{")
    for _ in range(2):
        assert find_status(home, None, "shard", made.key).is_here
        assert len(read) == len(made.files())
    assert find_status(home, None, "shard", made.key, verify=True).is_here
    assert len(read) == 2 * len(made.files())


def test_what_no_write_changed_is_found_by_verify(toy: Any, home: Home, run: Any) -> None:
    """A disk that rots leaves times and size; so does this record, rewritten for the damage."""
    made = shard(toy)
    (manifest,) = list_manifests(home, "shard")
    flip(next(made.path.rglob("text")))
    record = home.root / "verified" / f"{made.key}.json"
    verified_files.remember(made.path, manifest.files, record)
    assert find_status(home, None, "shard", made.key).is_here
    run.verify = True
    assert shard(toy) == made and toy.started().count("shard") == 2
    assert not damaged_files(home, manifest, verify=True)


def test_a_users_file_that_changes_under_a_run_is_refused(toy: Any, home: Home, run: Any) -> None:
    source = external_artifact(toy.source)
    toy.source.write_text("another text")
    with pytest.raises(StageError, match="has changed since this run began"):
        toy.shard(source, config=toy.config(shards=2), seed=1)
