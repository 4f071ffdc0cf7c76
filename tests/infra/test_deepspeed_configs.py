"""The DeepSpeed configs: accelerate fills them in, and DeepSpeed accepts the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.infra.reading import INFRA, read_json

CONFIGS = sorted((INFRA / "deepspeed").glob("*.json"))


def filled(path: Path) -> dict[str, Any]:
    """Return a config as accelerate hands it to DeepSpeed: 4 rows, 2 steps, bf16, hidden 64."""
    from accelerate.utils import DeepSpeedPlugin

    plugin = DeepSpeedPlugin(hf_ds_config=str(path))
    plugin.set_mixed_precision("bf16")
    plugin.deepspeed_config_process(
        must_match=False,
        **{
            "train_batch_size": 8,
            "train_micro_batch_size_per_gpu": 4,
            "gradient_accumulation_steps": 2,
            "gradient_clipping": 1.0,
            "zero_optimization.reduce_bucket_size": 64 * 64,
            "zero_optimization.stage3_prefetch_bucket_size": 3686,
            "zero_optimization.stage3_param_persistence_threshold": 640,
        },
    )
    config: dict[str, Any] = plugin.deepspeed_config
    return config


def test_there_is_one_per_stage() -> None:
    assert [path.stem for path in CONFIGS] == ["zero1", "zero2", "zero3-offload", "zero3"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_deepspeed_accepts_what_accelerate_makes_of_it(path: Path) -> None:
    from deepspeed.runtime.config import DeepSpeedConfig

    config = filled(path)
    assert "auto" not in json.dumps(config)
    read = DeepSpeedConfig(config)
    assert read.zero_optimization_stage == int(path.stem[4])
    assert read.bfloat16_config.enabled and read.gradient_accumulation_steps == 2
    offloaded = "offload" in path.stem
    assert (read.zero_config.offload_optimizer is not None) == offloaded
    assert (read.zero_config.offload_param is not None) == offloaded
    # Without it ZeRO-3 saves placeholders instead of weights.
    assert read.zero_config.gather_16bit_weights_on_model_save == ("zero3" in path.stem)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_optimiser_stays_ours(path: Path) -> None:
    # With an optimizer block DeepSpeed compiles its own, for a minute, and ours is not used.
    assert not {"optimizer", "scheduler"} & read_json(path).keys()
