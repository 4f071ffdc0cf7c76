"""Whole files and folders: all or nothing under faults, and no way out of a folder."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.storage.errors import CorruptError, DiskError, StorageError, UnsafePathError
from tasks.storage.faults import fault_count
from tasks.storage.files import (
    free_bytes,
    link_or_copy,
    open_output,
    publish_directory,
    put_if_absent,
    read_json,
    read_lines,
    remove_tree,
    safe_join,
    write_atomic,
    write_json,
    write_lines,
)


def names(folder: Path) -> list[str]:
    """Return everything below a folder, hidden names too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def count_operations(work: Callable[[], object]) -> int:
    """Return how many durable operations `work` makes."""
    before = fault_count()
    work()
    return fault_count() - before


def test_write_atomic_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("fault", ["enospc", "eio"])
def test_every_failing_operation_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """write, fsync, rename, fsync directory: 4 operations; the new text is there after 3."""
    path = tmp_path / "file"
    write_atomic(path, "old")
    assert count_operations(lambda: write_atomic(path, "old")) == 4
    seen = []
    for operation in range(1, 5):
        write_atomic(path, "old")
        monkeypatch.setenv("SPARRING_FAULT", f"{fault}@{fault_count() + operation}")
        with pytest.raises(DiskError, match="file") as caught:
            write_atomic(path, "new")
        monkeypatch.delenv("SPARRING_FAULT")
        assert caught.value.errno == getattr(errno, fault.upper())
        assert names(tmp_path) == ["file"]
        seen.append(path.read_text())
    assert seen == ["old", "old", "old", "new"]


def test_full_disk_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_FAULT", f"enospc@{fault_count() + 1}")
    with pytest.raises(StorageError) as caught:
        write_atomic(tmp_path / "file", "new")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'file'}: the disk is full: free some space, then run the same "
        "command again (what was there before is unchanged)"
    )
    assert caught.value.exit_code == 1


def test_open_output_forgets_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_output(tmp_path / "file", "wb") as out:
        out.write(b"half")
        raise KeyError("stop")
    assert names(tmp_path) == []


def test_open_output_keeps_text_newlines_and_refuses_other_modes(tmp_path: Path) -> None:
    with open_output(tmp_path / "file") as out:
        out.write("ä\nb\n")
    assert (tmp_path / "file").read_bytes() == "ä\nb\n".encode()
    with pytest.raises(ValueError, match="'a'"), open_output(tmp_path / "x", "a"):  # type: ignore[arg-type]
        pass


def test_json_is_sorted_and_readable(tmp_path: Path) -> None:
    tree = {"b": [1, "é"], "a": None}
    write_json(tmp_path / "f", tree)
    assert (tmp_path / "f").read_text() == '{\n  "a": null,\n  "b": [\n    1,\n    "é"\n  ]\n}\n'
    assert read_json(tmp_path / "f") == tree
    assert tree == {"b": [1, "é"], "a": None}
    with pytest.raises(TypeError, match="a.b"):
        write_json(tmp_path / "f", {"a": {"b": float("nan")}})
    assert read_json(tmp_path / "f") == tree


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000])
def test_damaged_json_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(CorruptError, match=str(tmp_path / "f")):
        read_json(tmp_path / "f")


def test_write_lines(tmp_path: Path) -> None:
    assert write_lines(tmp_path / "f", iter(["a", "ß"])) == 2
    assert (tmp_path / "f").read_text() == "a\nß\n"
    with pytest.raises(ValueError, match="line 2"):
        write_lines(tmp_path / "f", ["a", "b\nc"])
    assert (tmp_path / "f").read_text() == "a\nß\n"


def test_put_if_absent_has_one_winner(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "f"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: put_if_absent(path, str(n)), range(8)))
    assert won.count(True) == 1
    assert path.read_text() == str(won.index(True))
    assert names(path.parent) == ["f"]


def test_put_if_absent_has_one_winner_among_those_that_looked_before_it_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert put_if_absent(tmp_path / "claim", "first")
    assert not put_if_absent(tmp_path / "claim", "second")
    assert (tmp_path / "claim").read_text() == "first"
    assert names(tmp_path) == ["claim"]


def test_put_if_absent_under_every_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """write, fsync, link, fsync directory; only after the link the file is there, and whole."""
    seen = []
    for operation in range(1, 5):
        path = tmp_path / str(operation)
        monkeypatch.setenv("SPARRING_FAULT", f"enospc@{fault_count() + operation}")
        with pytest.raises(DiskError):
            put_if_absent(path, "x")
        monkeypatch.delenv("SPARRING_FAULT")
        seen.append(path.read_text() if path.exists() else None)
    assert seen == [None, None, None, "x"]
    assert names(tmp_path) == ["4"]


def test_publish_directory(tmp_path: Path) -> None:
    source = tmp_path / "work" / "output"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_text("x")
    publish_directory(source, tmp_path / "store" / "ab" / "cd")
    assert (tmp_path / "store/ab/cd/sub/f").read_text() == "x"
    assert not source.exists()
    source.mkdir()
    with pytest.raises(StorageError, match="exists already"):
        publish_directory(source, tmp_path / "store" / "ab" / "cd")


def test_publish_directory_is_whole_or_absent_under_every_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(number: int) -> Path:
        folder = tmp_path / f"source-{number}"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "f").write_text("x")
        return folder

    (tmp_path / "store").mkdir()
    first = source(0)
    total = count_operations(lambda: publish_directory(first, tmp_path / "store" / "0"))
    # 1 file, 2 folders inside out, the rename, the target's parent and the source's.
    assert total == 6
    for operation in range(1, total + 1):
        folder, target = source(operation), tmp_path / "store" / str(operation)
        monkeypatch.setenv("SPARRING_FAULT", f"enospc@{fault_count() + operation}")
        with pytest.raises(DiskError):
            publish_directory(folder, target)
        monkeypatch.delenv("SPARRING_FAULT")
        whole = target if target.exists() else folder
        assert names(whole) == ["sub", "sub/f"]
        assert folder.exists() != target.exists()


@pytest.mark.parametrize(
    "part",
    ["..", "a/../b", "/etc", "", ".", "a//b", "a\x00b", "a\\b", "%2e%2e", "a%2Fb", "x" * 256,
     "a\nb", "\udc80"],
)  # fmt: skip
def test_safe_join_refuses(tmp_path: Path, part: str) -> None:
    with pytest.raises(UnsafePathError):
        safe_join(tmp_path, "ok", part)


def test_safe_join_allows_plain_names_and_inner_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "out").symlink_to("/tmp")
    assert safe_join(tmp_path, "a b/é", "c#1") == tmp_path / "a b/é/c#1"
    assert safe_join(tmp_path, "link/x") == tmp_path / "link/x"
    with pytest.raises(UnsafePathError, match="leads out"):
        safe_join(tmp_path, "out/x")


def test_free_bytes_of_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_remove_tree(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_text("x")
    (tmp_path / "link").symlink_to("real")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "missing")
    assert names(tmp_path) == ["real", "real/f"]
    remove_tree(tmp_path / "real")
    assert names(tmp_path) == []


def test_link_or_copy_shares_bytes_or_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "f").write_text("x")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b/sub/f").samefile(tmp_path / "a/sub/f")
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "a", tmp_path / "b")

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c/sub/f").read_text() == "x"
    assert not (tmp_path / "c/sub/f").samefile(tmp_path / "a/sub/f")


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_lines_come_back_whatever_else_ends_a_line(lines: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        assert write_lines(path, [*lines, "a\u2028b\x85c\rd"]) == len(lines) + 1
        assert read_lines(path) == [*lines, "a\u2028b\x85c\rd"]
