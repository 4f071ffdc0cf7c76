"""Training in processes of its own: what they say arrives, and none of them outlives the stage."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from transformers import AutoModelForCausalLM

from tasks.settings.errors import ConfigError, StageError
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.distributed import launch as launching
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch, torchrun_command
from tasks.training.updates.policy import fit, train_policy

FOREVER = 10_000


@contextmanager
def stage(
    policy: Path, data: Path, scratch: Path, epochs: int = FOREVER, nodes: int = 1, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A stage in a process of its own, ended with all its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.training.stage_process", str(policy), str(data)]
        + [str(scratch), str(epochs), str(nodes)],
        env=os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def heard(process: subprocess.Popen[str], start: str) -> str:
    """The first line that begins so."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return line
    raise AssertionError(f"the stage ended without {start!r}: {lines}")


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def training_processes(found: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in found if "tasks.training.worker" in p.cmdline()[1:4]]


def launcher_of(found: list[psutil.Process]) -> psutil.Process:
    return training_processes(found)[0].parent()


@pytest.mark.parametrize("victim", ["stage", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_no_training_process_outlives_its_parent(victim, tiny_policy, data_folders, tmp_path):
    with stage(tiny_policy, data_folders["scored"], tmp_path) as process:
        heard(process, "step 2")
        found = descendants(process)
        assert len(training_processes(found)) == 2
        (process if victim == "stage" else launcher_of(found)).kill()
        _, alive = psutil.wait_procs(found, timeout=10)
        assert alive == []
        if victim == "torchrun":
            assert "exit code 137" in heard(process, "StageError")


@pytest.mark.slow
def test_a_signal_to_the_stage_saves_first(tiny_policy, data_folders, tmp_path):
    with stage(tiny_policy, data_folders["scored"], tmp_path) as process:
        heard(process, "step 2")
        found = descendants(process)
        process.send_signal(signal.SIGTERM)
        said = heard(process, "TrainingInterrupted")
        step = int(said.split("at step ")[1].split()[0])
        assert Workspace(tmp_path).part_names()[-1] == f"step-{step:08d}"
        assert process.wait(10) == 0
        assert psutil.wait_procs(found, timeout=10)[1] == []


def test_two_processes_do_what_one_does(tiny_policy, data_folders, tmp_path, recording_log):
    curves = {}
    for processes in (1, 2):
        training = TrainingConfig(
            learning_rate=1e-2, batch_size=4, logging_steps=1, precision="fp32", processes=processes
        )
        limits = {"max_prompt_tokens": 40, "max_response_tokens": 40}
        config = PolicyConfig(limits=limits, training=training)
        workspace = Workspace(tmp_path / str(processes))
        metrics = train_policy(
            tiny_policy, None, [data_folders["scored"]], config, workspace, recording_log, seed=0
        )
        assert metrics["samples_seen"] == 11
        curves[processes] = [
            (step, values["loss"], values["grad_norm"]) for step, values in recording_log.metrics
        ]
        recording_log.metrics.clear()
        AutoModelForCausalLM.from_pretrained(workspace.output)
    assert len(curves[1]) == 3
    assert [step for step, *_ in curves[2]] == [1, 2, 3]
    for one, two in zip(curves[1], curves[2], strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def job_of(model: Path, **given) -> TrainingJob:
    training = TrainingConfig(**given)
    config = PolicyConfig(training=training).model_dump(mode="json")
    return TrainingJob(kind="policy", model=model, config=config, seed=0)


def test_an_error_of_a_process_is_raised_as_what_it_is(tmp_path, recording_log):
    """The folder is no model: a mistake of the user's, found in both processes."""
    with pytest.raises(ConfigError, match="not a model folder"):
        launch(job_of(tmp_path, processes=2), fit, Workspace(tmp_path / "work"), recording_log)


def test_one_process_trains_in_the_stage_itself(tmp_path, recording_log):
    def fit(job, workspace, log):
        return {"process": float(os.getpid())}

    found = launch(job_of(tmp_path), fit, Workspace(tmp_path / "work"), recording_log)
    assert found == {"process": os.getpid()}


def test_several_machines_need_a_meeting_point(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARRING_RENDEZVOUS", raising=False)
    training = TrainingConfig(nodes=2, processes=4)
    with pytest.raises(ConfigError, match="SPARRING_RENDEZVOUS=HOST:PORT"):
        torchrun_command(training, tmp_path / "order.json")
    monkeypatch.setenv("SPARRING_RENDEZVOUS", "gpu-0:29500")
    command = torchrun_command(training, tmp_path / "order.json", 1)
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=gpu-0", "--master-port=29500"} <= {
        *command
    }
    assert "--nproc-per-node=4" in command


@pytest.mark.slow
def test_two_machines_train_together(tiny_policy, data_folders, tmp_path):
    """Two launchers of one process each, as on two machines with a shared disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    data, variable = data_folders["scored"], {"SPARRING_RENDEZVOUS": address}
    with stage(tiny_policy, data, tmp_path, epochs=1, nodes=2, **variable) as process:
        command = shlex.split(heard(process, "note start this").split(": ", 1)[1])
        command = [word.replace("=N", "=1") for word in command]
        other = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            assert heard(process, "done").split() == ["done", "11.0"]
            assert other.wait(60) == 0
        finally:
            other.kill()


def test_a_killed_process_is_reported_with_the_log(tmp_path):
    """No outcome and no error of the stage's own."""

    class Ended:
        log = tmp_path / "processes.log"

        def exit_code(self) -> int:
            return 1

        def tail(self) -> str:
            return "exitcode  : -9"

    class Quiet:
        error = requested = None

    with pytest.raises(StageError, match=r"exit code 1: a process was killed.*\n.*-9"):
        launching._result(tmp_path / "none", Ended(), Quiet(), Workspace(tmp_path), Quiet())
