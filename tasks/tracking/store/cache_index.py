"""The objects in the store's DVC cache, and which of them anything still refers to.

A `.dvc` file names the MD5 of an output; the object of a folder is a list of its files' MD5s. DVC
itself is not needed to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from tasks.storage.digests import FileDigest
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import read_json

_POINTER = re.compile(r"^- md5: '?([0-9a-f]{32}(?:\.dir)?)'?$", re.MULTILINE)
_OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(?:\.dir)?")


def pointers(store: Path) -> Iterator[Path]:
    """Yield the `.dvc` files of a store's artifacts."""
    yield from Path(store).glob("*/*.dvc")


def pointer_of(folder: Path) -> Path:
    """Return the `.dvc` file of an artifact, which lies beside it."""
    return folder.with_name(folder.name + ".dvc")


def pointer_text(folder: Path, digest: str, files: Sequence[FileDigest]) -> str:
    """Return the `.dvc` file of an artifact, as DVC itself writes it."""
    size = sum(file.size for file in files)
    count = "" if not digest.endswith(".dir") else f"  nfiles: {len(files)}\n"
    md5, name = _yaml_string(digest), _yaml_string(folder.name)
    return f"outs:\n- md5: {md5}\n  size: {size}\n{count}  hash: md5\n  path: {name}\n"


def _yaml_string(text: str) -> str:
    """Quote what YAML would not take for this text: a key of digits and an `e` is a number."""
    if not re.fullmatch(r"\w(?:[\w. +=/-]*\w)?", text):
        return json.dumps(text, ensure_ascii=False)
    return text if re.search("[^0-9eE._+-]", text) else f"'{text}'"


def cached_objects(store: Path) -> dict[str, Path]:
    """Return the files of the cache by the MD5 they are named after (`….dir` for a folder's)."""
    root = Path(store) / ".dvc" / "cache" / "files" / "md5"
    found = {}
    for path in root.glob("*/*"):
        if _OBJECT.fullmatch(f"{path.parent.name}/{path.name}"):
            found[path.parent.name + path.name] = path
    return found


def referenced(store: Path, kept: Iterable[Path], known: Container[str] = ()) -> set[str]:
    """Return the MD5s that the kept `.dvc` files refer to, directly or through unknown folders.

    Raises:
        StorageError: A `.dvc` file cannot be read, so that nobody can tell what it needs.
    """
    found: set[str] = set()
    for pointer in kept:
        try:
            named = _POINTER.findall(pointer.read_bytes().decode(errors="replace"))
        except FileNotFoundError:
            continue
        if not named:
            raise StorageError(f"{pointer} names no MD5: remove it, or restore it")
        for md5 in named:
            found.add(md5)
            if md5.endswith(".dir") and md5 not in known:
                found |= _inside(store, md5, pointer)
    return found


def _inside(store: Path, md5: str, pointer: Path) -> set[str]:
    """Return the MD5s of the files of a folder's object."""
    path = Path(store) / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    try:
        return {entry["md5"] for entry in read_json(path)}
    except FileNotFoundError:
        return set()
    except (CorruptError, KeyError, TypeError) as error:
        raise StorageError(f"{path}, which {pointer} names, is damaged: {error}") from error
