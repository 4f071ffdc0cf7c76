"""Artifacts travel through a remote whole or not at all, on a folder and on a real object store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.storage.digests import FileDigest, digest_tree
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import remove_tree
from tasks.tracking.remote.base import DamagedError, Remote, RemoteError
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store.dvc_store import DvcStore
from tasks.tracking.store.object_transfer import object_name
from tests.flows.warm_start import WARM


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "remote")
    else:
        yield f"s3://{request.getfixturevalue('s3').bucket()}/team"


def _remote(url: str) -> Remote:
    remote = open_remote(url)
    assert remote is not None
    return remote


def _made(store: Path, key: str, count: int = 3) -> tuple[list[FileDigest], str]:
    """Make an artifact and add it."""
    folder = store / "train" / key
    for number in range(count):
        path = folder / ("below" if number % 2 else ".") / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{key} {number}".encode() + os.urandom(1000))
    digests = digest_tree(folder)
    versioned = DvcStore(store)
    with versioned.writing():
        return digests, versioned.add(folder, digests)


def _flip(remote: Remote, name: str) -> None:
    data = bytearray(remote.get(name) or b"")
    data[len(data) // 2] ^= 1
    remote.put(name, bytes(data))


def test_what_was_pushed_comes_back_elsewhere(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a")
    one, two = DvcStore(tmp_path / "one"), DvcStore(tmp_path / "two")
    assert one.push(files, digest, url) == 4
    assert one.push(files, digest, url) == 0
    target = two.root / "train" / "a"
    assert two.pull(files[:1], target, url) == 1
    assert [file.path for file in digest_tree(target)] == [files[0].path]
    before = (target / files[0].path).stat().st_mtime_ns
    assert two.pull(files, target, url) == 2
    assert digest_tree(target) == files and before == (target / files[0].path).stat().st_mtime_ns
    remove_tree(target)
    assert two.pull(files, target, url) == 0
    assert digest_tree(target) == files
    assert two.push(files, digest, url) == 0
    with two.writing():
        assert two.add(target, files) == digest


def test_dvcs_own_commands_work_with_the_remote(tmp_path: Path, url: str) -> None:
    store = tmp_path / "one"
    files, digest = _made(store, "a")
    DvcStore(store).push(files, digest, url)

    def dvc(*words: str) -> str:
        command = [WARM.python(), "-m", "dvc", *words]
        answer = subprocess.run(command, cwd=store, capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    assert "in sync" in dvc("status", "--cloud", "-R", ".")
    remove_tree(store / ".dvc" / "cache")
    remove_tree(store / "train" / "a")
    dvc("pull", "-R", ".")
    assert digest_tree(store / "train" / "a") == files
    more, added = _made(store, "b")
    dvc("push", "-R", ".")
    assert DvcStore(store).push(more, added, url) == 0
    assert DvcStore(store).verify_remote([*files, *more], url) == []


def test_each_of_twenty_flipped_bytes_is_found_named_and_repaired(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a", 21)
    one, two = DvcStore(tmp_path / "one"), DvcStore(tmp_path / "two")
    one.push(files, digest, url)
    for file in files[1:]:
        _flip(_remote(url), object_name(file.md5))
    with pytest.raises(CorruptError) as caught:
        two.pull(files, two.root / "train" / "a", url)
    assert "20 of 21 objects on" in str(caught.value)
    for file in files[1:]:
        assert f"{file.path} ({object_name(file.md5)}: damaged)" in str(caught.value)
    assert [file.path for file in digest_tree(two.root / "train" / "a")] == [files[0].path]
    assert two.verify_remote(files, url) == files[1:]
    with pytest.raises(CorruptError, match="20 of 20 objects.*no good copy here"):
        two.repair(files, url)
    assert one.repair(files, url) == files[1:]
    assert one.repair(files, url) == []
    assert two.pull(files, two.root / "train" / "a", url) == 20


def test_what_is_gone_is_named(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a")
    one, two = DvcStore(tmp_path / "one"), DvcStore(tmp_path / "two")
    one.push(files, digest, url)
    _remote(url).delete(object_name(files[1].md5))
    with pytest.raises(CorruptError, match=f"1 of 3 .*{files[1].path} .*: gone"):
        two.pull(files, two.root / "train" / "a", url)
    assert one.push(files, digest, url) == 1
    assert two.pull(files, two.root / "train" / "a", url) == 1


def test_a_damaged_copy_here_is_not_pushed(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a")
    store = DvcStore(tmp_path / "one")
    path = store.root / "train" / "a" / files[0].path
    path.chmod(0o600)
    with open(path, "r+b") as data:
        data.write(b"!")
    with pytest.raises(DamagedError, match="is damaged: its MD5 is"):
        store.push(files, digest, url)
    assert _remote(url).size(object_name(files[0].md5)) is None
    assert _remote(url).size(object_name(digest)) is None
    with pytest.raises(StorageError, match="are not those of"):
        store.push(files[1:], digest, url)


def test_a_damaged_cache_here_is_mended_from_the_remote(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a")
    store = DvcStore(tmp_path / "one")
    store.push(files, digest, url)
    folder = store.root / "train" / "a"
    path = folder / files[0].path
    path.chmod(0o600)
    path.write_bytes(b"?" * files[0].size)
    path.unlink()
    assert store.pull(files, folder, url) == 1
    assert digest_tree(folder) == files


def test_pulling_and_pushing_at_once(tmp_path: Path, url: str) -> None:
    files, digest = _made(tmp_path / "one", "a", 6)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: DvcStore(tmp_path / "one").push(files, digest, url), range(4)))
        two = tmp_path / "two"
        target = two / "train" / "a"
        list(pool.map(lambda _: DvcStore(two).pull(files, target, url), range(4)))
    assert digest_tree(target) == files
    assert not [path for path in tmp_path.rglob(".tmp-*") if "store" not in path.parts]


def test_a_remote_that_fails_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, digest = _made(tmp_path / "one", "a")
    url = str(tmp_path / "remote")
    DvcStore(tmp_path / "one").push(files, digest, url)

    def fail(*_: Any) -> None:
        raise RemoteError("the line is down")

    monkeypatch.setattr("tasks.tracking.remote.folder.FolderRemote.download", fail)
    with pytest.raises(RemoteError, match="the line is down"):
        two = DvcStore(tmp_path / "two")
        two.pull(files, two.root / "train" / "a", url)
