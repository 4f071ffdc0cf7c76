"""GPUs of this machine, each of which one stage has at a time.

A GPU is held by a kernel's lock on a file of its own, not by a lease that beats: the lock is free
again the moment its last holder ends, however that ends. The files lie beside no home, since homes
come and go and the GPUs are the machine's. They are the user's: users do not see each other's.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.settings.errors import ConfigError
from tasks.storage.errors import LockTimeoutError, StorageError
from tasks.storage.locks import FileLock, lock_holder

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable: the GPUs that CUDA shows to a process, which counts them from 0 again."""
_FOLDER = Path(f"/dev/shm/sparring-gpus-{os.getuid()}")
_PAUSE_SECONDS = 0.5
_SAY_AGAIN_SECONDS = 600.0
_in_use: list[str] = []  # the GPU on which torch has begun in this process
# Torch's own way of asking whether there is a GPU fixes for good which ones this process sees.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


class HeldGpus(NamedTuple):
    """GPUs that nobody else has; none on a machine without."""

    names: tuple[str, ...]
    """As `CUDA_VISIBLE_DEVICES` has them."""
    descriptors: tuple[int, ...]
    """Of their locks: a process that inherits them holds the GPUs until it ends."""


@functools.cache
def machine_gpus() -> tuple[str, ...]:
    """Return the GPUs that may be used here, those that this process could see at its start.

    Torch counts them, without a context on any; in a process of its own where it has to ask CUDA.
    """
    import torch

    count = _counted_apart() if _asks_cuda() else torch.cuda.device_count()
    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",")]
    return tuple(names[:count]) if any(names) else tuple(str(number) for number in range(count))


def gpus_here(wanted: int) -> int:
    """Return how many GPUs work that wants so many has on this machine: none where it has none."""
    return wanted if wanted and machine_gpus() else 0


def _asks_cuda() -> bool:
    """Return whether torch has to begin CUDA to count GPUs, which NVML says without.

    CUDA reads once which GPUs a process may see: whoever asked early sees the same for good.
    """
    import torch

    if not torch.backends.cuda.is_built() or torch.cuda._device_count_nvml() >= 0:
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver, so no GPU: nothing is fixed by asking
        return False
    return True


def _counted_apart() -> int:
    program = "import torch; print(torch.cuda.device_count())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return int(told.stdout)


@contextmanager
def held_gpus(
    count: int,
    say: Callable[[str], None],
    *,
    first: str | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[HeldGpus]:
    """Hold GPUs of this machine during the block, waited for if others have them.

    Args:
        count: How many; what the stage uses at once.
        say: Told whom it waits for.
        first: One that must be among them, and stands first.
        stopping: Ends the waiting when it is set.

    Raises:
        ConfigError: The machine has GPUs, and fewer than that.
        KeyboardInterrupt: It was told to stop.
    """
    known = machine_gpus() if count else ()
    if not known:
        yield HeldGpus((), ())
        return
    if count > len(known):
        raise ConfigError(
            f"{count} GPUs are asked for, and this machine shows {len(known)} to this process "
            f"({VISIBLE}={','.join(known)}): ask for fewer, or run it where there are more"
        )
    gather = functools.partial(_gather, say=say, stopping=stopping or threading.Event())
    with ExitStack() as held:
        with ExitStack() as turn:
            if count > 1:
                # Two who gather several at the same time would wait for each other.
                gather(turn, ["turn"], 1)
            own = gather(held, [first], 1) if first else {}
            others = gather(held, [name for name in known if name != first], count - len(own))
        locks = own | others
        yield HeldGpus(tuple(locks), tuple(lock.fileno() for lock in locks.values()))


@contextmanager
def visible_gpus(count: int, say: Callable[[str], None]) -> Iterator[None]:
    """Let this process, and those it starts, see only GPUs that it holds during the block.

    Where torch has once begun it stays, so a process comes back to that GPU every time. Arguments
    and errors are `held_gpus`'.
    """
    with held_gpus(count, say, first=next(iter(_in_use), None)) as gpus:
        before = os.environ.get(VISIBLE)
        if gpus.names:
            os.environ[VISIBLE] = ",".join(gpus.names)
        try:
            yield
        finally:
            if gpus.names:
                _give_back(gpus.names[0], before)


def gpu_holders() -> dict[str, str]:
    """Return who holds which GPU, by name; empty for one that is free."""
    return {name: lock_holder(_path(name)) for name in machine_gpus()}


def _gather(
    held: ExitStack,
    names: Sequence[str],
    count: int,
    *,
    say: Callable[[str], None],
    stopping: threading.Event,
) -> dict[str, FileLock]:
    """Lock so many of some names as they become free; what was not in use for longest comes first.

    That spreads the processes, each of which comes back to its first GPU.
    """
    locks: dict[str, FileLock] = {}
    said = -_SAY_AGAIN_SECONDS
    while True:
        for name in sorted(set(names) - locks.keys(), key=_last_use):
            if len(locks) == count:
                break
            try:
                locks[name] = held.enter_context(_lock(name))
            except LockTimeoutError as error:
                holder = error.holder
        if len(locks) == count:
            return locks
        if time.monotonic() - said > _SAY_AGAIN_SECONDS:
            said = time.monotonic()
            say(f"waits until {holder} gives back a GPU")
        if stopping.wait(_PAUSE_SECONDS):
            raise KeyboardInterrupt("told to stop while it waited for a GPU")


def _give_back(name: str, before: str | None) -> None:
    """Let others have the memory, and this process see what it saw before."""
    import torch

    # Where CUDA itself is asked it may have begun, and torch not.
    if torch.cuda.is_initialized() or _asks_cuda():
        _in_use[:] = [name]
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
    if before is None:
        del os.environ[VISIBLE]
    else:
        os.environ[VISIBLE] = before


def _lock(name: str) -> FileLock:
    """Return the lock of a GPU, in a folder that nobody else writes to.

    Raises:
        StorageError: Somebody else made that folder.
    """
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    if _FOLDER.is_symlink() or _FOLDER.stat().st_uid != os.getuid():
        raise StorageError(f"{_FOLDER} is not this user's: have it removed")
    return FileLock(_path(name), timeout=0)


def _last_use(name: str) -> tuple[float, str]:
    """Return when somebody last began to use a GPU; 0 for never."""
    path = _path(name)
    return (path.stat().st_mtime if path.exists() else 0.0), name


def _path(name: str) -> Path:
    return _FOLDER / f"{name.replace('/', '-')}.lock"
