"""Keeping freed memory in the process while tensors come and go.

By default glibc gives a large freed tensor back to the kernel at once, and the next tensor of that
size pays for fresh zeroed pages. A training step makes and frees gigabytes that way: with the pages
kept, it takes about half the time on a virtual machine (docs/results/).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
_KEEP = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 << 20}
# What glibc itself arrives at after a large tensor was freed once.
_USUAL = {
    _ARENA_MAX: 0,
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
    _TOP_PAD: 128 << 10,
}

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let freed memory stay with the process inside the block; blocks may nest and overlap.

    Afterwards what is free goes back to the system. Does nothing where the C library is not glibc.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _set(_KEEP)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(_USUAL)
                _give_back()


def _set(parameters: dict[int, int]) -> None:
    library = _glibc()
    if library is not None:
        for parameter, value in parameters.items():
            library.mallopt(parameter, value)


def _give_back() -> None:
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
