"""One process of a training; torchrun runs `python -m tasks.training.worker ORDER`."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tasks.processes.reaper import die_with_parent
from tasks.settings.errors import StageError
from tasks.settings.log import Log, NullLog
from tasks.storage.fencing import Claim
from tasks.storage.files import put_if_absent, read_json
from tasks.storage.workspace import Workspace
from tasks.training.distributed.job import WorkOrder
from tasks.training.distributed.launch import Fit
from tasks.training.distributed.relay import WorkerChannel

_LAUNCHER = b"torch.distributed.run"


def main(order_file: Path) -> int:
    """Do one process's part of a job; write how it ended.

    Returns:
        The exit status.
    """
    die_with_launcher()
    rank = int(os.environ["RANK"])
    order = WorkOrder.model_validate(read_json(order_file))
    try:
        metrics = _work(order, rank)
    except BaseException as error:
        traceback.print_exc()
        code = 130 if isinstance(error, KeyboardInterrupt) else int(getattr(error, "exit_code", 1))
        _write_failure(order.outcome, error, code, rank)
        return code
    if rank == 0:
        put_if_absent(order.outcome, json.dumps({"ok": True, "metrics": metrics}))
    return 0


def die_with_launcher() -> None:
    """Have the kernel kill this process when torchrun ends, in whatever way.

    Torchrun gives each process a session of its own, so that killing its group leaves them alive.
    """
    die_with_parent()
    # The launcher may have died before that; then this process has another parent by now.
    launcher = Path(f"/proc/{os.getppid()}/cmdline")
    if not launcher.exists() or _LAUNCHER not in launcher.read_bytes():
        os.kill(os.getpid(), signal.SIGKILL)


def _work(order: WorkOrder, rank: int) -> dict[str, float]:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    log: Log = NullLog()
    mirror = None
    if rank == 0:
        log = channel = WorkerChannel(order.address)
        mirror = channel if order.mirrored else None
    workspace = Workspace(order.workspace, guard=lambda: _check(order), mirror=mirror)
    metrics = _fit_of(order.job.kind)(order.job, workspace, log)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return metrics


def _fit_of(kind: str) -> Fit:
    """Return the function that does a job of this kind in one process."""
    if kind == "policy":
        from tasks.training.updates.policy import fit
    elif kind == "ppo":
        from tasks.training.ppo.trainer import fit
    elif kind == "classifier":
        from tasks.training.updates.fine_tuned_classifier import fit
    elif kind == "tqr":
        from tasks.training.updates.tqr import fit
    else:
        from tasks.training.updates.reward_model import fit
    return fit


def _check(order: WorkOrder) -> None:
    """Stop if another attempt has taken over."""
    if order.lease is not None and not Claim(order.lease, order.token).holds():
        raise StageError(
            f"attempt {order.token} lost its lease to another one; nothing of it is kept"
        )


def _write_failure(outcome: Path, error: BaseException, code: int, rank: int) -> None:
    """Leave the first error; what follows from it on other ranks comes later or says less."""
    found: dict[str, Any] = {
        "ok": False,
        "error": type(error).__name__,
        "message": str(error),
        "exit_code": code,
        "rank": rank,
    }
    from tasks.training.distributed.ranks import OtherRankError

    if not isinstance(error, OtherRankError):
        put_if_absent(outcome, json.dumps(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
