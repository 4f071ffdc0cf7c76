"""The DeepSpeed configs: completed by us and by accelerate, DeepSpeed accepts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.training.config import TrainingConfig
from tasks.training.distributed.deepspeed_engine import deepspeed_settings, set_bucket_sizes
from tests.infra.reading import INFRA, read_json

CONFIGS = sorted((INFRA / "deepspeed").glob("*.json"))


def filled(path: Path, precision: str) -> dict[str, Any]:
    """Return a config as DeepSpeed gets it."""
    from accelerate.utils import DeepSpeedPlugin

    training = TrainingConfig(deepspeed=path.stem, precision=precision, max_grad_norm=0.5)
    settings = deepspeed_settings(training)
    set_bucket_sizes(settings, hidden_size=64)
    plugin = DeepSpeedPlugin(hf_ds_config=settings, zero3_init_flag=False)
    plugin.set_mixed_precision("no")
    plugin.deepspeed_config_process(must_match=False)
    config: dict[str, Any] = plugin.deepspeed_config
    return config


def test_there_is_one_per_stage() -> None:
    assert [path.stem for path in CONFIGS] == ["zero1", "zero2", "zero3-offload", "zero3"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_deepspeed_accepts_what_we_make_of_it(path: Path, precision: str) -> None:
    from deepspeed.runtime.config import DeepSpeedConfig

    config = filled(path, precision)
    assert '"auto"' not in json.dumps(config)
    read = DeepSpeedConfig(config)
    assert read.zero_optimization_stage == int(path.stem[4])
    assert read.gradient_clipping == 0.5 and read.gradient_accumulation_steps == 1
    # Weights stay fp32; only the arithmetic is bf16, and gradients travel as they are.
    assert not read.bfloat16_config.enabled and not read.float16_config.enabled
    assert read.torch_autocast_enabled == (precision == "bf16")
    assert read.torch_autocast_lower_precision_safe_modules == []
    offloaded = "offload" in path.stem
    assert (read.zero_config.offload_optimizer is not None) == offloaded
    assert (read.zero_config.offload_param is not None) == offloaded
    # Without it ZeRO-3 saves placeholders instead of weights.
    assert read.zero_config.gather_16bit_weights_on_model_save == ("zero3" in path.stem)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_they_set_nothing_that_is_ours(path: Path) -> None:
    assert read_json(path).keys() == {"zero_optimization"}
    assert json.loads(path.read_text())["zero_optimization"]["stage"] in (1, 2, 3)
