"""What every remote promises, shown on a folder; `test_s3.py` shows it on a real object store."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.settings.errors import ConfigError
from tasks.storage.errors import UnsafePathError
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.folder import FolderRemote


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "shared")


def test_objects_come_back(remote: FolderRemote) -> None:
    assert remote.get("a/b") is None and remote.age("a/b") is None and remote.names("") == []
    remote.put("a/b", b"one")
    remote.put("a/b", b"two")
    remote.put("a/c/d", b"")
    remote.put("ab", b"x")
    assert remote.get("a/b") == b"two" and remote.get("a") is None and remote.get("ab/c") is None
    assert remote.names("a") == ["a/b", "a/c/d", "ab"] and remote.names("a/") == ["a/b", "a/c/d"]
    assert remote.names("a/c") == ["a/c/d"] and remote.names("nothing/here/") == []
    remote.delete("a/b")
    remote.delete("a/b")
    remote.delete("ab/none")
    assert remote.names("a/") == ["a/c/d"]


def test_exactly_one_of_many_puts_if_absent(remote: FolderRemote) -> None:
    with ThreadPoolExecutor(10) as pool:
        for turn in range(20):
            name = f"leases/{turn}/000001.json"
            won = list(pool.map(lambda i, n=name: remote.put_if_absent(n, b"%d" % i), range(10)))
            assert won.count(True) == 1
            assert remote.get(name) == b"%d" % won.index(True)
    assert remote.sweep(0) == 0


def test_age_follows_the_disks_clock(remote: FolderRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.put("beat", b"")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    age = remote.age("beat")
    assert age is not None and 0 <= age < 5
    before = remote.root.joinpath("beat").stat().st_mtime
    os.utime(remote.root / "beat", (before - 100, before - 100))
    age = remote.age("beat")
    assert age is not None and 100 <= age < 105
    assert remote.names("") == ["beat"]


def test_files_travel_whole(remote: FolderRemote, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.write_bytes(os.urandom(3_000_000))
    remote.upload("store/x", source)
    remote.download("store/x", target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(RemoteError, match="holds no store/y"):
        remote.download("store/y", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_a_dead_writer_left_is_invisible_and_swept(remote: FolderRemote) -> None:
    remote.put("a/b", b"")
    (remote.root / "a" / ".tmp-1-dead").write_bytes(b"half")
    assert remote.names("") == ["a/b"]
    assert remote.sweep() == 0
    assert remote.sweep(0) == 1
    assert remote.names("") == ["a/b"] and not (remote.root / "a" / ".tmp-1-dead").exists()


def test_names_cannot_lead_out(remote: FolderRemote) -> None:
    for name in ("../x", "/etc/x", "a//b", "", "a/../../x"):
        with pytest.raises(UnsafePathError):
            remote.put(name, b"")


def test_a_disk_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path / "mnt" / "shared")
    for action in (lambda: remote.get("x"), lambda: remote.put("x", b""), lambda: remote.names("")):
        with pytest.raises(ConfigError, match="not mounted"):
            action()
    assert [finding.state for finding in remote.findings()] == ["bad"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(remote: FolderRemote) -> None:
    remote.put("x", b"")
    remote.root.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write y .* give this user the right"):
        remote.put("y", b"")
    assert remote.get("x") == b""


def test_findings(remote: FolderRemote) -> None:
    remote.put("x", b"")
    remote.root.chmod(0o777)
    states = {finding.subject: finding.state for finding in remote.findings()}
    assert states == {
        "reachable": "ok",
        "writable": "ok",
        "encrypted": "unknown",
        "versioned": "unknown",
        "not public": "bad",
    }
    assert remote.names("") == ["x"]


def test_a_disk_where_two_can_win_is_said(
    remote: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sparring doctor` finds a disk on which a hard link to a taken name succeeds."""
    monkeypatch.setattr("tasks.tracking.remote.folder.put_if_absent", lambda path, data: True)
    states = {finding.subject: finding for finding in remote.findings()}
    assert states["writable"].state == "bad"
    assert "lets a name be written twice" in states["writable"].detail
