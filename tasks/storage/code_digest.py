"""A digest of the installed code: two processes with the same one do the same."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_PACKAGES = ("flows", "tasks")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return the SHA-256 (hex) of the code that this process runs, as it was when first asked."""
    return digest_of_code(Path(__file__).resolve().parents[2])


def digest_of_code(folder: Path) -> str:
    """Return the SHA-256 (hex) of `flows` and `tasks` in a folder: their modules and data files.

    Line ends count as one kind, for git may write them in either. Hidden files and what Python
    compiled are left out.
    """
    whole = hashlib.sha256()
    for path in sorted(path for name in _PACKAGES for path in (folder / name).rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if hidden or path.suffix == ".pyc" or not path.is_file():
            continue
        content = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        whole.update(f"{'/'.join(parts)} {content}\n".encode())
    return whole.hexdigest()
