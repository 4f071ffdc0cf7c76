"""DVC gives our names to our artifacts, and its own commands work on the store."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.storage.digests import digest_file, digest_tree, directory_md5
from tasks.storage.errors import StorageError
from tasks.tracking.store.cache_index import pointers, referenced
from tasks.tracking.store.dvc_store import DvcStore
from tests.flows.warm_start import WARM


def _dvc(folder: Path, *words: str) -> str:
    """Run the plain dvc command in a folder."""
    answer = subprocess.run(
        [WARM.python(), "-m", "dvc", *words], cwd=folder, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def _artifact(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def _add(store: DvcStore, path: Path) -> str:
    digests = digest_tree(path) if path.is_dir() else [digest_file(path)]
    with store.writing():
        return store.add(path, digests)


def test_names_are_dvcs_own(tmp_path: Path) -> None:
    """Folder and file get the md5 that `dvc add` gives to copies of them elsewhere."""
    store = DvcStore(tmp_path / "store")
    files = {"é b": "1", "a": "2", "sub__x": "", "sub__y\u4e2d": "\r\n", "a.b": "3"}
    folder = _artifact(tmp_path / "store" / "s" / "one", **files)
    single = _artifact(tmp_path / "store" / "s", two="hello") / "two"
    ours, file_md5 = _add(store, folder), _add(store, single)
    assert ours == directory_md5(digest_tree(folder))
    assert file_md5 == "5d41402abc4b2a76b9719d911017c592"
    plain = tmp_path / "plain"
    _artifact(plain / "one", **files)
    _dvc(plain.parent, "--version")
    _dvc(plain, "init", "--no-scm", "-q")
    _dvc(plain, "add", "-q", "one")
    pointer = (tmp_path / "store" / "s" / "one.dvc").read_text()
    assert pointer == (plain / "one.dvc").read_text()
    assert ours in pointer


def test_plain_commands_work(tmp_path: Path) -> None:
    """Status is clean, push moves everything, and a lost artifact comes back by pull."""
    root = tmp_path / "store"
    store = DvcStore(root)
    for name in ("one", "two"):
        _add(store, _artifact(root / "s" / name, a="same", b=name, sub__c="deep"))
    _add(store, _artifact(root / "s", three="file") / "three")
    assert "up to date" in _dvc(root, "status")
    _dvc(root, "remote", "add", "-d", "far", str(tmp_path / "remote"))
    assert "pushed" in _dvc(root, "push")
    assert "in sync" in _dvc(root, "status", "--cloud")
    for gone in (root / ".dvc" / "cache", root / "s" / "two"):
        subprocess.run(["rm", "-rf", str(gone)], check=True)
    _dvc(root, "pull", "-q")
    assert (root / "s" / "two" / "b").read_text() == "two"
    assert "up to date" in _dvc(root, "status")


def test_bytes_are_shared_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache links to the artifact; told the md5, DVC does not open the file."""
    root = tmp_path / "store"
    folder = _artifact(root / "s" / "one", a="x" * 1000)
    digests = digest_tree(folder)
    store = DvcStore(root)
    _add(store, _artifact(root / "s" / "zero", a="y"))
    import dvc_data.hashfile.hash as dvc_hash

    real, read = dvc_hash.file_md5, []
    monkeypatch.setattr(dvc_hash, "file_md5", lambda *a, **k: read.append(a[0]) or real(*a, **k))
    with store.writing():
        store.add(folder, digests)
    # Only its list of the folder's files, in memory.
    assert all(path.startswith("memory:") for path in read)
    cached = root / ".dvc" / "cache" / "files" / "md5" / digests[0].md5[:2] / digests[0].md5[2:]
    assert (
        cached.stat().st_ino == (folder / "a").stat().st_ino
        or "reflink"
        in (root / ".dvc" / "config").read_text().partition("type = ")[2].partition(",")[0]
    )


@pytest.mark.parametrize(
    "text", ["", '{"write": {"a"', '{"write": {"/x": {"pid": 1, "cmd": "add"}}}']
)
def test_a_torn_lock_table_is_mended(tmp_path: Path, text: str) -> None:
    """A killed dvc leaves a torn table, or one naming a process number that lives again."""
    root = tmp_path / "store"
    store = DvcStore(root)
    _add(store, _artifact(root / "s" / "one", a="1"))
    (root / ".dvc" / "tmp" / "rwlock").write_text(text)
    _add(store, _artifact(root / "s" / "two", a="2"))
    assert "up to date" in _dvc(root, "status")
    _dvc(root, "checkout", "-q")


def test_an_artifact_made_again_replaces_its_pointer(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = DvcStore(root)
    folder = _artifact(root / "s" / "one", a="1")
    first = _add(store, folder)
    (folder / "a").unlink()
    second = _add(store, _artifact(folder, a="2"))
    assert first != second
    assert "up to date" in _dvc(root, "status")


def test_a_moved_home_keeps_working(tmp_path: Path) -> None:
    root = tmp_path / "old" / "store"
    _add(DvcStore(root), _artifact(root / "s" / "one", a="1"))
    os.rename(tmp_path / "old", tmp_path / "new")
    root = tmp_path / "new" / "store"
    _add(DvcStore(root), _artifact(root / "s" / "two", a="2"))
    assert "up to date" in _dvc(root, "status")
    assert not (tmp_path / "old").exists()


def test_outside_the_store_is_refused(tmp_path: Path) -> None:
    store = DvcStore(tmp_path / "store")
    with pytest.raises(StorageError, match="is not in the store"):
        _add(store, _artifact(tmp_path / "else", a="1"))


@pytest.mark.parametrize("name", ["406632205939e284", "1234567890123456", "12e4567890123456"])
def test_a_key_that_yaml_reads_as_a_number(tmp_path: Path, name: str) -> None:
    """Unquoted it broke `dvc status` and `dvc push` for the whole store."""
    store = DvcStore(tmp_path / "store")
    md5 = _add(store, _artifact(tmp_path / "store" / "s" / name, a="1"))
    (path,) = pointers(store.root)
    assert yaml.safe_load(path.read_text())["outs"][0]["path"] == name
    assert "up to date" in _dvc(store.root, "status") and md5 in referenced(store.root, [path])


def test_a_home_with_letters_outside_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, remote = tmp_path / "hömé 家" / "store", tmp_path / "fern 遠"
    monkeypatch.setenv("LC_ALL", "C")
    store = DvcStore(root)
    folder = _artifact(root / "s" / "one", a="1")
    md5 = _add(store, folder)
    store.push(digest_tree(folder), md5, str(remote))
    again = DvcStore(root)
    _add(again, _artifact(root / "s" / "two", a="2"))
    assert "up to date" in _dvc(root, "status") and "pushed" in _dvc(root, "push")


def test_a_pointer_is_mended_from_what_is_known(tmp_path: Path) -> None:
    store = DvcStore(tmp_path / "store")
    folder = _artifact(tmp_path / "store" / "s" / "one", a="1")
    md5, digests = _add(store, folder), digest_tree(folder)
    (path,) = pointers(store.root)
    text = path.read_text()
    assert not store.mend_pointer(folder, md5, digests)
    assert not store.mend_pointer(folder.parent / "pulled", "0" * 32 + ".dir", digests)
    for damage in (lambda: path.write_text(text[:-7]), path.unlink):
        damage()
        assert store.mend_pointer(folder, md5, digests) and path.read_text() == text
