from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from tasks.settings.errors import ConfigError
from tasks.storage.workspace import Workspace
from tasks.training.distributed.interruption import TrainingInterrupted
from tasks.training.snapshots import Snapshots
from tests.tasks.training.toy import StopAt, digest_of, toy_training


def test_states_are_kept_at_even_distances_and_the_output_is_the_last_one(tmp_path):
    metrics, weights = toy_training(tmp_path / "three", snapshots=2, num_train_epochs=3)
    output = tmp_path / "three" / "output"
    steps = int(metrics["steps"])
    assert json.loads((output / "snapshot.json").read_text()) == {"step": steps, "steps": steps}
    middle = output / "snapshots" / "1"
    assert json.loads((middle / "snapshot.json").read_text())["step"] == round(steps / 2)
    assert sorted(path.name for path in (output / "snapshots").iterdir()) == ["1"]
    assert digest_of(load_file(output / "model.safetensors")) == digest_of(weights)
    assert digest_of(load_file(middle / "model.safetensors")) != digest_of(weights)


def test_a_snapshot_is_the_model_after_that_step(tmp_path):
    """Four steps a pass: the first of two snapshots of two passes is the whole of one pass."""
    one, weights = toy_training(tmp_path / "one", num_train_epochs=1)
    two, _ = toy_training(tmp_path / "two", num_train_epochs=2, snapshots=2)
    assert two["steps"] == 2 * one["steps"]
    middle = load_file(tmp_path / "two" / "output" / "snapshots" / "1" / "model.safetensors")
    assert digest_of(middle) == digest_of(weights)


def test_snapshots_change_nothing_in_the_training_and_survive_a_stop(tmp_path):
    plain = toy_training(tmp_path / "plain", num_train_epochs=2)
    kept = toy_training(tmp_path / "kept", num_train_epochs=2, snapshots=4)
    assert digest_of(kept[1]) == digest_of(plain[1])

    import os
    import signal

    stop = StopAt(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted):
        toy_training(tmp_path / "stopped", stop, num_train_epochs=2, snapshots=4)
    resumed = tmp_path / "resumed"
    earlier = [tmp_path / "stopped"]
    _, weights = toy_training(resumed, earlier=earlier, num_train_epochs=2, snapshots=4)
    assert digest_of(weights) == digest_of(kept[1])
    for number in ("1", "2", "3"):
        ours = resumed / "output" / "snapshots" / number / "model.safetensors"
        theirs = tmp_path / "kept" / "output" / "snapshots" / number / "model.safetensors"
        assert ours.read_bytes() == theirs.read_bytes()


def test_more_snapshots_than_steps_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="snapshots is 5, and this training has 4 steps"):
        Snapshots(Workspace(tmp_path), 4, 5, lambda state, folder: None)
