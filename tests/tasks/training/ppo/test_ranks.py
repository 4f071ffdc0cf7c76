"""PPO on several ranks, with and without DeepSpeed: what one process does, resumed to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.tasks.training.ppo.ppo_ranks import PARTS, STEPS
from tests.tasks.training.ppo.tiny_ppo import train_tiny

pytestmark = pytest.mark.slow
MODES = ("none", "zero2", "zero3", "none-lora", "zero3-lora", "zero2-last")


@pytest.fixture(scope="module")
def scratch(tiny_root, tmp_path_factory):
    """What two ranks left in every mode, and what they report of it."""
    scratch = tmp_path_factory.mktemp("ranks")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node=2", "-m", "tests.tasks.training.ppo.ppo_ranks"]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*launcher, *program, str(tiny_root), str(scratch), *MODES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return scratch


@pytest.fixture(scope="module")
def reports(scratch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((scratch / "report.json").read_text())
    return found


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_to_one_rank_stops_all_and_resume_is_exact(mode, reports):
    report = reports[mode]
    assert "stopped by SIGTERM, state saved at step 2 of 3" in report["stopped"]
    assert report["kept"][-1] == "step-00000002"
    assert report["resumed"] == report["whole"]
    assert report["same_metrics"]


@pytest.mark.parametrize("part", PARTS)
def test_every_mode_is_the_training_of_one_process(part, reports, scratch, root, recording_log):
    """The same responses are drawn, whoever draws them; sums are rounded in another order."""
    metrics, output = train_tiny(root, "one", recording_log, **STEPS, **PARTS[part])
    alone = {step: values for step, values in recording_log.metrics if step}
    weights = load_file(output / "model.safetensors")
    for mode in (mode for mode in MODES if mode.partition("-")[2] == part):
        report = reports[mode]
        assert report["metrics"]["prompts_seen"] == metrics["prompts_seen"]
        for step, values in alone.items():
            point = report["points"][str(step)]
            assert point.keys() == values.keys()
            for name, value in values.items():
                # One token at the very edge of the clip is one more or less.
                if not name.startswith("speed/") and "clipfrac" not in name:
                    assert point[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
        saved = load_file(scratch / mode / "whole" / "output" / "model.safetensors")
        assert saved.keys() == weights.keys()
        for name, tensor in weights.items():
            close = (saved[name] - tensor).abs() <= 1e-4
            assert close.float().mean() > 0.97, (mode, name)
