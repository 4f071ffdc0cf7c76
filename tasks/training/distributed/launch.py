"""Where a training runs: in the stage's own process, or in several that torchrun starts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.processes.child import Child, child_process
from tasks.settings.errors import ConfigError, RecordError, StageError
from tasks.settings.log import Log
from tasks.storage.files import read_json, remove_tree, write_json
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import refuse_other_topology
from tasks.training.config import TrainingConfig
from tasks.training.distributed.interruption import StopSignal, TrainingInterrupted
from tasks.training.distributed.job import TrainingJob, WorkOrder
from tasks.training.distributed.opening import zero_stage
from tasks.training.distributed.relay import Relay

Fit = Callable[[TrainingJob, Workspace, Log], dict[str, float]]
"""Does a job in one process, on data that lie in the workspace, and returns its metrics."""
RENDEZVOUS = "SPARRING_RENDEZVOUS"
"""Environment variable: `host:port` of this machine, where the others meet it."""
_ERRORS: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (ConfigError, RecordError, StageError, TrainingInterrupted)
}
_ROOT = Path(__file__).parents[3]


def launch(job: TrainingJob, fit: Fit, workspace: Workspace, log: Log) -> dict[str, float]:
    """Do a training, here or in processes of its own, and return its metrics.

    Args:
        job: What to train; its data lie in the workspace.
        fit: Does a job of this kind in one process. Processes of a launcher find it by the kind.
        workspace: Of the stage's attempt. On a disk that all machines share, if there are several.
        log: Receives metrics per step, notes and progress while it runs.

    Raises:
        ConfigError: DeepSpeed's config, or the meeting point of several machines, cannot be used.
        StageError: The training could not go on, a process was killed, or a checkpoint of another
            number of processes waits to be resumed.
        TrainingInterrupted: A signal to stop arrived; the state is saved.
    """
    training = job.training
    refuse_other_topology(workspace, training.world_size, zero_stage(training))
    if training.world_size == 1 and training.deepspeed is None:
        return fit(job, workspace, log)
    return _run_processes(job, workspace, log)


def torchrun_command(training: TrainingConfig, order: Path, node: int | str = 0) -> list[str]:
    """Return the command that starts the processes of a machine; the stage's own has number 0.

    Raises:
        ConfigError: There are several machines and no meeting point.
    """
    command = [sys.executable, "-m", "torch.distributed.run"]
    if training.nodes == 1:
        command += ["--standalone"]
    else:
        host, _, port = os.environ.get(RENDEZVOUS, "").rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(
                f"training.nodes is {training.nodes}: set {RENDEZVOUS}=HOST:PORT to an address of "
                "this machine that the others reach, and keep SPARRING_HOME on a disk they share"
            )
        command += [f"--nnodes={training.nodes}", f"--node-rank={node}"]
        command += [f"--master-addr={host}", f"--master-port={port}"]
    command += [f"--nproc-per-node={training.processes}"]
    return [*command, "-m", "tasks.training.worker", str(order)]


def _run_processes(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    file, outcome = workspace.path / "order.json", workspace.path / "outcome.json"
    remove_tree(outcome)
    command = torchrun_command(job.training, file)
    with Relay(workspace, log) as relay, StopSignal() as stop:
        write_json(file, _order(job, workspace, outcome, relay).model_dump(mode="json"))
        _tell_others(job.training, file, log)
        child = child_process(
            command,
            log=workspace.path / "processes.log",
            environment=_environment(job.training),
        )
        with child as processes:
            _wait(processes, relay, stop)
            return _result(outcome, processes, relay, workspace, stop)


def _order(job: TrainingJob, workspace: Workspace, outcome: Path, relay: Relay) -> WorkOrder:
    claim = workspace.claim
    return WorkOrder(
        job=job,
        workspace=workspace.path.resolve(),
        outcome=outcome.resolve(),
        address=relay.address,
        mirrored=workspace.mirror is not None,
        lease=claim.path.resolve() if claim else None,
        token=claim.token if claim else 0,
    )


def _tell_others(training: TrainingConfig, order: Path, log: Log) -> None:
    if training.nodes > 1:
        # A stage has leased this machine's GPUs; on the others nobody has.
        leased = [sys.executable, "-m", "tasks.stages.leases.command", str(training.processes)]
        command = " ".join([*leased, *torchrun_command(training, order.resolve(), "N")])
        log.note(
            f"start this on the other {training.nodes - 1} machines, with N from 1 to "
            f"{training.nodes - 1}: {command}"
        )


def _environment(training: TrainingConfig) -> dict[str, str]:
    import torch

    threads = max(1, torch.get_num_threads() // training.processes)
    # Without the current folder in the path, where a `datasets.py` would hide the library.
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


def _wait(processes: Child, relay: Relay, stop: StopSignal) -> None:
    """Hand on what the main process says until all have ended; pass one signal on to it."""
    told = False
    while processes.exit_code() is None:
        relay.serve(0.2)
        if stop.requested and relay.process is not None and not told:
            # It tells the other ranks; torchrun would kill them all after half a minute.
            with suppress(ProcessLookupError):
                os.kill(relay.process, signal.SIGTERM)
            told = True
    relay.serve(0)


def _result(
    outcome: Path, processes: Child, relay: Relay, workspace: Workspace, stop: StopSignal
) -> dict[str, float]:
    found: dict[str, Any] = read_json(outcome) if outcome.exists() else {}
    if found.get("ok"):
        return dict(found["metrics"])
    workspace.guard()
    if relay.error is not None:
        raise relay.error
    if found.get("error") in _ERRORS:
        raise _ERRORS[found["error"]](found["message"])
    if stop.requested:
        raise TrainingInterrupted(
            f"stopped by {stop.requested}, its newest checkpoint is kept: resume goes on from there"
        )
    if found:
        what = f"process {found['rank']} failed with {found['error']}: {found['message']}"
    else:
        what = "a process was killed (is memory short?)"
    raise StageError(
        f"the training processes ended with exit code {processes.exit_code()}: {what}. "
        f"The end of {processes.log}:\n{processes.tail()}"
    )
