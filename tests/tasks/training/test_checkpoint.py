"""A training that was stopped, however, ends with the very bytes of one that was not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace
from tasks.training import checkpoint, policy_updates
from tasks.training.config import PolicyConfig, RewardConfig, TrainingConfig
from tasks.training.interruption import TrainingInterrupted
from tasks.training.policy_updates import train_policy
from tasks.training.reward_updates import train_reward_model

LIMITS = {"max_prompt_tokens": 40, "max_response_tokens": 40}
# Dropout, so that a lost random state would show.
TRAINING = TrainingConfig(
    logging_steps=1,
    learning_rate=1e-2, batch_size=3, micro_batch_size=2, num_train_epochs=3, dropout=0.2,
    warmup_steps=3, lr_scheduler="cosine", weight_decay=0.1, save_every=3,
)  # fmt: skip
STEPS = 12  # ceil(11 / 3) steps per epoch


class StopAt:
    """A log that does something at one step."""

    def __init__(self, step: int | None, act) -> None:
        self.step, self.act = step, act

    def __call__(self, metrics, step=None) -> None:
        if step == self.step:
            self.act()

    def note(self, text: str) -> None:
        pass

    def progress(self, done: int, total: int, unit: str) -> None:
        pass


def fail() -> None:
    raise RuntimeError("pulled the plug")


def train_dpo(path: Path, policy: Path, data: dict[str, Path], log, earlier=()) -> dict:
    workspace = Workspace(path)
    workspace.adopt_parts(earlier)
    config = PolicyConfig(method="dpo", limits=LIMITS, training=TRAINING)
    return train_policy(policy, policy, [data["scored"]], config, workspace, log, seed=7)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_policy, data_folders):
    path = tmp_path_factory.mktemp("uninterrupted")
    metrics = train_dpo(path, tiny_policy, data_folders, StopAt(None, fail))
    return metrics, digests(path / "output")


@pytest.mark.parametrize("step", [1, 2, 5, 6, 12])
def test_resumed_equals_uninterrupted(step, uninterrupted, tiny_policy, data_folders, tmp_path):
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    with pytest.raises(RuntimeError, match="plug"):
        train_dpo(first, tiny_policy, data_folders, StopAt(step, fail))
    metrics = train_dpo(second, tiny_policy, data_folders, StopAt(None, fail), [first])
    assert (metrics, digests(second / "output")) == uninterrupted


def test_resumed_many_times_equals_uninterrupted(
    uninterrupted, tiny_policy, data_folders, tmp_path
):
    """Two attempts get further each time; the third finishes."""
    for number, step in enumerate([5, 9], start=1):
        with pytest.raises(RuntimeError, match="plug"):
            train_dpo(
                tmp_path / f"attempt-{number}",
                tiny_policy,
                data_folders,
                StopAt(step, fail),
                [tmp_path / f"attempt-{n}" for n in range(1, number)],
            )
    last = tmp_path / "attempt-3"
    earlier = [tmp_path / "attempt-1", tmp_path / "attempt-2"]
    metrics = train_dpo(last, tiny_policy, data_folders, StopAt(None, fail), earlier)
    assert (metrics, digests(last / "output")) == uninterrupted


def test_a_reward_model_resumes_exactly(tiny_policy, data_folders, tmp_path):
    config = RewardConfig(objective="apo_rm", limits=LIMITS, training=TRAINING)

    def run(path: Path, log, earlier=()) -> dict:
        workspace = Workspace(path)
        workspace.adopt_parts(earlier)
        return train_reward_model(
            tiny_policy, [data_folders["pairs"]], data_folders["gold"], config, workspace, log, 7
        )

    whole = run(tmp_path / "whole", StopAt(None, fail))
    with pytest.raises(RuntimeError, match="plug"):
        run(tmp_path / "attempt-1", StopAt(5, fail))
    resumed = run(tmp_path / "attempt-2", StopAt(None, fail), [tmp_path / "attempt-1"])
    assert resumed == whole
    assert digests(tmp_path / "attempt-2" / "output") == digests(tmp_path / "whole" / "output")


def test_sigterm_saves_at_that_step(uninterrupted, tiny_policy, data_folders, tmp_path):
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    before = signal.getsignal(signal.SIGTERM)
    ask = StopAt(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted, match="SIGTERM after step 5 of 12") as caught:
        train_dpo(first, tiny_policy, data_folders, ask)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert Workspace(first).part("step-00000005")
    metrics = train_dpo(second, tiny_policy, data_folders, StopAt(None, fail), [first])
    assert (metrics, digests(second / "output")) == uninterrupted


def test_rehearsal_and_retention(tiny_policy, data_folders, tmp_path):
    """Saved after steps 1, 3, 6, 9; the newest two stay."""
    seen = []

    class Watch(StopAt):
        def __call__(self, metrics, step=None) -> None:
            seen.append(checkpoint.checkpoint_names(Workspace(tmp_path)))

    train_dpo(tmp_path, tiny_policy, data_folders, Watch(None, fail))
    # Index 0 is the comparison before the first step; index n is before step n is saved.
    assert seen[2] == ["step-00000001"]
    assert seen[4] == ["step-00000001", "step-00000003"]
    assert seen[12] == ["step-00000006", "step-00000009"]


@pytest.fixture
def stopped(tiny_policy, data_folders, tmp_path):
    """A workspace whose training stopped after its checkpoint of step 3."""
    with pytest.raises(RuntimeError, match="plug"):
        train_dpo(tmp_path, tiny_policy, data_folders, StopAt(5, fail))
    return tmp_path


def test_other_world_size_is_refused_before_the_model_is_loaded(
    stopped, tiny_policy, data_folders, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(policy_updates, "load_policy", fail)
    with pytest.raises(StageError, match="written by 1 processes and this run has 2.*weights only"):
        train_dpo(stopped, tiny_policy, data_folders, StopAt(None, fail))


@pytest.mark.parametrize("missing", ["rng.safetensors", "state.json", "model-00000.safetensors"])
def test_an_incomplete_checkpoint_is_refused(missing, stopped, tiny_policy, data_folders):
    """Complete as a part, yet written without something that an exact resume needs."""
    part = stopped / "parts" / "step-00000003"
    (part / missing).unlink()
    marker = part.with_name("step-00000003.json")
    files = [f for f in json.loads(marker.read_text())["files"] if f["path"] != missing]
    marker.write_text(json.dumps({"files": files}))
    with pytest.raises(StageError, match="step-00000003 lacks"):
        train_dpo(stopped, tiny_policy, data_folders, StopAt(None, fail))


def test_a_damaged_checkpoint_falls_back_to_an_earlier_one(
    uninterrupted, stopped, tiny_policy, data_folders
):
    weights = stopped / "parts" / "step-00000003" / "model-00000.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    second = stopped / "attempt-2"
    metrics = train_dpo(second, tiny_policy, data_folders, StopAt(None, fail), [stopped])
    assert (metrics, digests(second / "output")) == uninterrupted


def test_a_full_disk_is_found_at_step_one(tiny_policy, data_folders, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "free_bytes", lambda path: 1000)
    with pytest.raises(StageError, match="free some space"):
        train_dpo(tmp_path, tiny_policy, data_folders, StopAt(2, fail))


@pytest.mark.parametrize(
    "stride", [8, pytest.param(1, marks=pytest.mark.slow)], ids=["every eighth", "every"]
)
def test_a_kill_at_a_durable_operation_resumes_to_the_same_bytes(
    stride, tiny_policy, data_folders, tmp_path
):
    worker = Path(__file__).with_name("kill_worker.py")
    command = [sys.executable, str(worker), str(tiny_policy), str(data_folders["scored"])]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(tmp_path), str(stride)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["operations"] > 60
    assert report["killed"] == report["points"]
    assert report["different"] == []
