"""Whole files and folders: written under a temporary name, synced, then renamed into place.

A reader sees the old content or the new one, never a mixture, whatever kills the writer.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from tasks.storage import durable
from tasks.storage.errors import CorruptError, StorageError, UnsafePathError
from tasks.storage.faults import fault_point
from tasks.storage.plain import json_text
from tasks.storage.trees import is_clean_name, remove_unless, sync_tree, walk_tree

_LONGEST_NAME = 255
_ENCODED = ("%2e", "%2f", "%5c", "%00")


@contextmanager
def open_output(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block ends well.

    Args:
        path: the file; missing parent folders are made.
        mode: "w" for text (UTF-8, lines end in a bare newline) or "wb" for bytes.

    Yields:
        The writer. If the block raises, nothing of it remains and an earlier file is untouched.

    Raises:
        DiskError: when the disk refuses the write.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode is {mode!r}; expected 'w' or 'wb'")
    path = Path(path)
    text = {"encoding": "utf-8", "newline": "\n"} if mode == "w" else {}
    with durable.clear_disk_errors(path):
        durable.make_folder(path.parent)
        temporary = durable.temporary_name(path.parent)
        try:
            fault_point(f"write {path.name}")
            with open(temporary, mode.replace("w", "x"), **text) as out:  # type: ignore[call-overload]
                durable.open_as_folder(out.fileno(), path.parent)
                yield out
                out.flush()
                durable.sync_file(path, out.fileno())
            durable.rename(temporary, path)
            durable.sync_directory(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, data: bytes | str) -> None:
    """Put `data` (text as UTF-8) into `path` in one step. Raises `DiskError` as `open_output`."""
    with open_output(path, "wb") as out:
        out.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, obj: Any) -> None:
    """Write plain values as readable JSON: sorted keys, two spaces, a newline at the end.

    Raises:
        TypeError: for a value that is not plain, before anything is written.
        DiskError: when the disk refuses the write.
    """
    write_atomic(path, json_text(obj, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        FileNotFoundError: when there is none.
        CorruptError: when it is not JSON in UTF-8.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{path} is not valid JSON ({error}); restore or remove it") from error


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write one line each, without holding them all, and return how many.

    Raises:
        ValueError: when a line holds a newline; nothing is written then.
        DiskError: when the disk refuses the write.
    """
    count = 0
    with open_output(path) as out:
        for line in lines:
            if "\n" in line:
                raise ValueError(f"line {count + 1} for {path} holds a newline: {line[:80]!r}")
            out.write(line + "\n")
            count += 1
    return count


def read_lines(path: Path) -> list[str]:
    """Return what `write_lines` wrote: only a newline ends a line, U+2028 and others are text."""
    with open(path, encoding="utf-8", newline="\n") as lines:
        return [line.removesuffix("\n") for line in lines]


def put_if_absent(path: Path, data: bytes | str) -> bool:
    """Create `path` with `data`, whole, unless it exists.

    Returns:
        True if this call created it; of many callers at once exactly one gets True.

    Raises:
        DiskError: when the disk refuses the write.
    """
    path = Path(path)
    if path.exists():
        return False
    temporary = durable.temporary_name(path.parent)
    with durable.clear_disk_errors(path):
        try:
            durable.make_folder(path.parent)
            fault_point(f"write {path.name}")
            with open(temporary, "xb") as out:
                durable.open_as_folder(out.fileno(), path.parent)
                out.write(data.encode() if isinstance(data, str) else data)
                out.flush()
                durable.sync_file(path, out.fileno())
            fault_point(f"link {path.name}")
            # A hard link fails when the name is taken, which a rename does not.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
    return True


def publish_directory(source: Path, target: Path) -> None:
    """Move a finished folder to its final name in one step, with everything in it on disk.

    Raises:
        StorageError: when `target` exists already, or as in `walk_tree`.
        DiskError: when the disk refuses.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise StorageError(f"cannot publish {source}: {target} exists already")
    with durable.clear_disk_errors(target):
        sync_tree(source)
        durable.make_folder(target.parent)
        durable.rename(source, target)
        durable.sync_directory(target.parent)
        if source.parent != target.parent:
            durable.sync_directory(source.parent)


def safe_join(root: Path, *parts: str) -> Path:
    """Join names, or POSIX paths, from outside below `root`, refusing every way out of it.

    Raises:
        UnsafePathError: for an absolute path, `..`, an empty or over-long name, a backslash, a
            control character, an encoded dot or slash, or a link that leads outside.
    """
    for part in parts:
        for name in part.split("/"):
            bad = name in ("", ".", "..") or "\\" in name or not is_clean_name(name)
            bad = bad or any(code in name.lower() for code in _ENCODED)
            if bad or len(name.encode()) > _LONGEST_NAME:
                raise UnsafePathError(f"{part!r} is not a safe name below {root}")
    joined = Path(root, *parts)
    real_root = Path(os.path.realpath(root))
    if not Path(os.path.realpath(joined)).is_relative_to(real_root):
        raise UnsafePathError(f"{joined} is a link that leads out of {root}")
    return joined


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that holds, or would hold, `path`."""
    existing = Path(path).absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def remove_tree(path: Path) -> None:
    """Remove a file or folder so that its name is gone at once; nothing there is fine.

    A kill in between leaves a trash name, which `sweep_leftovers` removes.
    """
    remove_unless(Path(path), lambda: False)


def publish_link(link: Path, target: str) -> None:
    """Let a symbolic link point to a target, whatever it pointed to; nobody sees it missing."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    temporary = durable.temporary_name(link.parent)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file, or every file of a folder, a second name without copying where the disk can.

    Both names may share their bytes: replace such a file, never write into it.

    Raises:
        FileExistsError: when a target file exists.
        DiskError: when the disk refuses.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        durable.make_folder(target)
        for relative in walk_tree(source)[0]:
            link_or_copy(source / relative, target / relative)
        return
    with durable.clear_disk_errors(target):
        durable.make_folder(target.parent)
        fault_point(f"link {target.name}")
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            with open(source, "rb") as data, open_output(target, "wb") as out:
                shutil.copyfileobj(data, out, 1 << 20)
