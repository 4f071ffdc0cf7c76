"""A training that was stopped, however, ends with the very bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace
from tasks.training import checkpoint
from tasks.training.checkpoint import checkpoint_names, refuse_other_topology
from tasks.training.config import RewardConfig, TrainingConfig
from tasks.training.distributed.interruption import TrainingInterrupted
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.updates.policy import fit
from tasks.training.updates.reward_model import train_reward_model
from tests.tasks.training.toy import StopAt, digest_of, toy_model, toy_training

# Nine groups and two, twice, three at a time.
STEPS = 8
TWICE = {"num_train_epochs": 2, "save_every": 3, "lr_scheduler": "cosine", "warmup_steps": 3}


def fail() -> None:
    raise RuntimeError("pulled the plug")


def train(path: Path, log=None, earlier=(), **settings) -> tuple[dict[str, float], str]:
    metrics, weights = toy_training(path, log, earlier, **(TWICE | settings))
    return metrics, digest_of(weights)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("step", [1, 2, 4, 6, 8])
def test_resumed_equals_uninterrupted(step, uninterrupted, tmp_path):
    first = tmp_path / "attempt-1"
    with pytest.raises(RuntimeError, match="plug"):
        train(first, StopAt(step, fail))
    assert train(tmp_path / "attempt-2", earlier=[first]) == uninterrupted


def test_resumed_many_times_equals_uninterrupted(uninterrupted, tmp_path):
    """Two attempts get further each time; the third finishes."""
    for number, step in enumerate([4, 7], start=1):
        with pytest.raises(RuntimeError, match="plug"):
            earlier = [tmp_path / f"attempt-{n}" for n in range(1, number)]
            train(tmp_path / f"attempt-{number}", StopAt(step, fail), earlier)
    earlier = [tmp_path / "attempt-1", tmp_path / "attempt-2"]
    assert train(tmp_path / "attempt-3", earlier=earlier) == uninterrupted


def test_a_reward_model_resumes_exactly(tiny_policy, data_folders, tmp_path):
    limits = {"max_prompt_tokens": 40, "max_response_tokens": 40}
    training = TrainingConfig(
        learning_rate=1e-2, batch_size=3, num_train_epochs=3, save_every=3, logging_steps=1
    )
    config = RewardConfig(objective="apo_rm", limits=limits, training=training)

    def run(path: Path, log, earlier=()) -> tuple[dict, bytes]:
        workspace = Workspace(path)
        workspace.adopt_parts(earlier)
        metrics = train_reward_model(
            tiny_policy, [data_folders["pairs"]], data_folders["gold"], config, workspace, log, 7
        )
        return metrics, (workspace.output / "model.safetensors").read_bytes()

    whole = run(tmp_path / "whole", StopAt(0, fail))
    with pytest.raises(RuntimeError, match="plug"):
        run(tmp_path / "attempt-1", StopAt(5, fail))
    assert run(tmp_path / "attempt-2", StopAt(0, fail), [tmp_path / "attempt-1"]) == whole


def test_sigterm_saves_at_that_step(uninterrupted, tmp_path):
    first = tmp_path / "attempt-1"
    before = signal.getsignal(signal.SIGTERM)
    ask = StopAt(4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted, match="SIGTERM, state saved at step 4 of 8") as caught:
        train(first, ask)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert Workspace(first).part("step-00000004")
    assert train(tmp_path / "attempt-2", earlier=[first]) == uninterrupted


def test_rehearsal_and_retention(tmp_path):
    """Saved after steps 1, 3 and 6; the newest two stay."""
    seen = {}

    class Watch(StopAt):
        def __call__(self, metrics, step=None) -> None:
            # Heard of before that step's own checkpoint is written.
            seen[step] = checkpoint_names(Workspace(tmp_path))

    train(tmp_path, Watch(0, fail))
    assert seen[2] == ["step-00000001"]
    assert seen[4] == ["step-00000001", "step-00000003"]
    assert seen[8] == ["step-00000003", "step-00000006"]


@pytest.fixture
def stopped(tmp_path):
    """A workspace whose training stopped after its checkpoint of step 3."""
    with pytest.raises(RuntimeError, match="plug"):
        train(tmp_path, StopAt(5, fail))
    return tmp_path


def test_other_topology_is_refused_with_the_remedies(stopped):
    workspace = Workspace(stopped)
    refuse_other_topology(workspace, 1, 0)
    with pytest.raises(StageError, match=r"by 1 processes with no DeepSpeed and this run has 2"):
        refuse_other_topology(workspace, 2, 0)
    with pytest.raises(StageError, match=r"ZeRO-2: resume with 1 .*weights only.*model-\*"):
        refuse_other_topology(workspace, 1, 2)
    state = stopped / "parts" / "step-00000003" / "state.json"
    state.write_text(state.read_text().replace('"zero_stage": 0', '"zero_stage": 3'))
    written = json.loads((stopped / "parts" / "step-00000003.json").read_text())["files"]
    assert state.stat().st_size == next(f["size"] for f in written if f["path"] == "state.json")
    with pytest.raises(StageError, match=r"zero_to_fp32 .*--tag zero .*ds_to_universal"):
        refuse_other_topology(workspace, 1, 0)


def test_other_topology_is_refused_before_a_model_is_loaded(stopped, recording_log):
    """There is no such model; nobody looks for it."""
    training = TrainingConfig(processes=2).model_dump(mode="json")
    job = TrainingJob(kind="policy", model="nowhere", config={"training": training}, seed=0)
    with pytest.raises(StageError, match="this run has 2 processes"):
        launch(job, fit, Workspace(stopped), recording_log)


def test_another_training_is_refused(stopped):
    with pytest.raises(StageError, match="belongs to another training"):
        train(stopped, learning_rate=1e-3)


@pytest.mark.parametrize("missing", ["rng-00000.safetensors", "state.json", "model-00000"])
def test_an_incomplete_checkpoint_is_refused(missing, stopped):
    """Complete as a part, yet written without something that an exact resume needs."""
    part = stopped / "parts" / "step-00000003"
    found = next(path for path in part.iterdir() if path.name.startswith(missing))
    found.unlink()
    marker = part.with_name("step-00000003.json")
    files = [f for f in json.loads(marker.read_text())["files"] if f["path"] != found.name]
    marker.write_text(json.dumps({"files": files}))
    with pytest.raises(StageError, match="step-00000003 lacks"):
        train(stopped)


def test_a_damaged_checkpoint_falls_back_to_an_earlier_one(uninterrupted, stopped):
    weights = stopped / "parts" / "step-00000003" / "model-00000.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert train(stopped / "attempt-2", earlier=[stopped]) == uninterrupted


def test_a_full_disk_is_found_at_step_one(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "free_bytes", lambda path: 1000)
    with pytest.raises(StageError, match="free some space"):
        train(tmp_path, StopAt(2, fail))


def test_only_what_is_trained_is_in_a_checkpoint(tmp_path):
    """As with adapters: the frozen weights are read from where they came from."""
    results = []
    for path, earlier in ((tmp_path / "whole", ()), (tmp_path / "b", [tmp_path / "a"])):
        if earlier:
            with pytest.raises(RuntimeError, match="plug"):
                toy_training(tmp_path / "a", StopAt(3, fail), model=_mostly_frozen())
        model = _mostly_frozen()
        metrics, weights = toy_training(path, earlier=earlier, model=model)
        results.append((metrics, digest_of(weights)))
    assert results[0] == results[1]
    saved = load_file(tmp_path / "b" / "parts" / "step-00000002" / "model-00000.safetensors")
    assert set(saved) == {"model.transformer.ln_f.weight", "model.transformer.ln_f.bias"}
    assert torch.equal(toy_model().model.transformer.wte.weight, weights["transformer.wte.weight"])


def _mostly_frozen():
    model = toy_model()
    model.requires_grad_(False)
    model.model.transformer.ln_f.requires_grad_(True)
    return model


@pytest.mark.parametrize(
    ("mode", "points"),
    [
        pytest.param("none", "files", marks=pytest.mark.slow),
        pytest.param("none", "every", marks=pytest.mark.slow),
        pytest.param("zero2", "files", marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_each_file_of_a_checkpoint_resumes_to_the_same_weights(mode, points, tmp_path):
    command = [sys.executable, "-m", "tests.tasks.training.kill_worker", mode, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, points], env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    # Two checkpoints: weights, optimiser, random state, cursor, and the file that commits them.
    assert report["points"] >= 10 and len(report["files"]) == 7
    assert report["killed"] == report["points"]
    assert report["different"] == []
