"""The order of system calls that makes a write last, and errors that say what to do."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tasks.storage.durable import clear_disk_errors, make_folder, temporary_name
from tasks.storage.errors import DiskError
from tasks.storage.files import put_if_absent, write_atomic
from tasks.storage.journal import append_record
from tasks.storage.locks import FileLock


def test_file_is_synced_before_and_its_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append("fsync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name[:5])
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        calls.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "store").mkdir()
    write_atomic(tmp_path / "store" / "file", "x")
    assert calls == ["fsync .tmp-", "rename", "fsync store"]


def test_make_folder_twice_and_below_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "f").write_text("")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "f")


def test_only_the_disks_own_errors_are_reworded(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="read-only"), clear_disk_errors(tmp_path):
        raise OSError(errno.EROFS, "x")
    with pytest.raises(FileNotFoundError), clear_disk_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "x")
    with pytest.raises(DiskError, match="inner") as caught, clear_disk_errors(tmp_path / "outer"):
        with clear_disk_errors(tmp_path / "inner"):
            raise OSError(errno.ENOSPC, "x")
    assert caught.value.filename == str(tmp_path / "inner")


def test_temporary_names_differ(tmp_path: Path) -> None:
    assert len({temporary_name(tmp_path) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("around", "folder", "file"),
    [
        (0o700, 0o700, 0o600),
        (0o755, 0o755, 0o644),
        (0o750, 0o750, 0o640),
        (0o2770, 0o2770, 0o660),
        (0o2775, 0o2775, 0o664),
        (0o1777, 0o755, 0o644),
    ],
)
def test_what_is_new_is_as_open_as_its_folder(
    around: int, folder: int, file: int, tmp_path: Path
) -> None:
    """By the usual umask of 022, which alone would leave every file open to all."""
    before = os.umask(0o022)
    try:
        (tmp_path / "around").mkdir()
        (tmp_path / "around").chmod(around)
        below = tmp_path / "around" / "a" / "b"
        write_atomic(below / "atomic", "x")
        put_if_absent(below / "absent", "x")
        append_record(below / "journal", {})
        with FileLock(below / "lock"):
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "around": around,
        **dict.fromkeys(("a", "b"), folder),
        **dict.fromkeys(("atomic", "absent", "journal", "lock"), file),
    }
