"""DeepSpeed's ZeRO: optimiser states, gradients and weights sharded over the ranks.

Weights, gradients and AdamW's moments are fp32 everywhere; what is bf16 is the arithmetic, through
DeepSpeed's own autocast, as in the other modes. DeepSpeed's `bf16` section is another thing – bf16
weights with an fp32 copy inside the optimiser – and is refused. Gradients travel in fp32; who
prefers half the traffic sets `torch_autocast.lower_precision_safe_modules` in a file of their own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.precision import compute_device, uses_bf16
from tasks.settings.errors import ConfigError
from tasks.storage.errors import CorruptError
from tasks.storage.faults import fault_point
from tasks.storage.files import read_json
from tasks.training.config import TrainingConfig
from tasks.training.distributed.engine import COLLECTIVE_TIMEOUT, Engine
from tasks.training.optimiser import set_rate

_FOLDER = Path(__file__).parents[3] / "infra" / "deepspeed"
_TAG = "zero"
_OURS = {
    "optimizer": "AdamW is passed in: set training.learning_rate, weight_decay, adam_*",
    "scheduler": "set training.lr_scheduler and warmup_steps",
    "bf16": "set training.precision",
    "fp16": "set training.precision",
    "gradient_accumulation_steps": "set training.micro_batch_tokens",
    "train_batch_size": "set training.batch_size",
    "train_micro_batch_size_per_gpu": "set training.micro_batch_tokens",
    "gradient_clipping": "set training.max_grad_norm",
}
_BY_HIDDEN_SIZE = {
    "reduce_bucket_size": lambda size: size * size,
    "stage3_prefetch_bucket_size": lambda size: size * size * 9 // 10,
    "stage3_param_persistence_threshold": lambda size: 10 * size,
}


def deepspeed_settings(config: TrainingConfig) -> dict[str, Any]:
    """Return DeepSpeed's config, complete but for what depends on the model.

    Raises:
        ConfigError: There is no such file, it is no ZeRO config, or it sets what is ours to set.
    """
    assert config.deepspeed is not None, "asked for only where DeepSpeed is"
    known = sorted(path.stem for path in _FOLDER.glob("*.json"))
    given = config.deepspeed
    path = _FOLDER / f"{given}.json" if given in known else Path(given)
    try:
        settings = read_json(path)
    except (OSError, CorruptError) as error:
        raise ConfigError(
            f"training.deepspeed is {given!r}, which is none of {', '.join(known)} and cannot be "
            f"read as a file of DeepSpeed's: {error}"
        ) from error
    for key, instead in _OURS.items():
        if not _is_auto(settings.pop(key, "auto")):
            raise ConfigError(f"{path} sets {key!r}, which Sparring sets itself: {instead}")
    stage = settings.get("zero_optimization", {}).get("stage")
    if stage not in (1, 2, 3):
        raise ConfigError(f"{path}: zero_optimization.stage is {stage!r}, expected 1, 2 or 3")
    # One "step of one row" per optimiser step: DeepSpeed then divides by the ranks, nothing else.
    settings |= {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": config.world_size,
        "gradient_clipping": config.max_grad_norm,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**62,
    }
    autocast = {"dtype": "bfloat16", "lower_precision_safe_modules": []}
    autocast |= settings.get("torch_autocast", {})
    settings["torch_autocast"] = autocast | {"enabled": uses_bf16(config.precision)}
    if stage == 3:
        settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return dict(settings)


def set_bucket_sizes(settings: dict[str, Any], hidden_size: int) -> None:
    """Replace what is `auto` about DeepSpeed's buckets by sizes that suit a model's width."""
    zero = settings["zero_optimization"]
    for key, formula in _BY_HIDDEN_SIZE.items():
        if _is_auto(zero.get(key)):
            zero[key] = formula(hidden_size)


@contextmanager
def sharded_loading(config: TrainingConfig) -> Iterator[None]:
    """Let transformers shard weights while it loads them, for ZeRO-3; else change nothing."""
    settings = deepspeed_settings(config)
    if settings["zero_optimization"]["stage"] < 3:
        yield
        return
    _start_deepspeed()
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    deepspeed_module().init_distributed(_backend(), timeout=COLLECTIVE_TIMEOUT, verbose=False)
    # Transformers looks at it through a weak reference.
    kept = HfDeepSpeedConfig(settings)
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del kept


def gathered(model: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which every rank holds all weights of a model that was loaded sharded."""
    context: AbstractContextManager[Any] = deepspeed_module().zero.GatheredParameters(
        list(model.parameters()), modifier_rank=None
    )
    return context


class DeepSpeedEngine(Engine):
    """The same interface as ``Engine`` over DeepSpeed's."""

    def _start(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DeepSpeedPlugin, InitProcessGroupKwargs
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        _start_deepspeed()
        settings = deepspeed_settings(self.config)
        self.zero_stage = settings["zero_optimization"]["stage"]
        set_bucket_sizes(settings, _hidden_size(model))
        # An engine that was made before would leave its settings to this one.
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(
            mixed_precision="no",
            deepspeed_plugin=DeepSpeedPlugin(hf_ds_config=settings, zero3_init_flag=False),
            # Accelerate knows DeepSpeed on GPUs; on CPUs it has to be told the backend.
            kwargs_handlers=[
                InitProcessGroupKwargs(backend=_backend(), timeout=COLLECTIVE_TIMEOUT)
            ],
        )
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        # Accelerate has told transformers to shard whatever is loaded from now on.
        unset_hf_deepspeed_config()
        self.model.checkpoint_engine = _part_files(self.model.checkpoint_engine)
        # It would copy a script of DeepSpeed's into every checkpoint, and that can fail too.
        self.model._copy_recovery_script = lambda folder: None

    def one_step(self) -> AbstractContextManager[Any]:
        """Keep casts as the other engines, except where weights come and go with each layer."""
        return nullcontext() if self.zero_stage == 3 else super().one_step()

    def one_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """Say whether this pass is the last of a step; see ``Engine``."""
        self.model.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def whole(self) -> AbstractContextManager[Any]:
        """Gather all weights, and have no layer ask the other ranks; see ``Engine``."""
        if self.zero_stage < 3:
            return nullcontext()
        from deepspeed.runtime.zero.stage3 import unwrap_model_for_generation

        context: AbstractContextManager[Any] = unwrap_model_for_generation(self.model)
        return context

    def backward(self, share: Tensor) -> None:
        """Add a share's gradient; see ``Engine``."""
        self.model.backward(share * self.accelerator.num_processes)

    def update(self, rate: float) -> float:
        """Clip and step in one; a gradient that is not finite has changed the weights then."""
        set_rate(self.model.optimizer, rate)
        self.model.step()
        return float(self.model.get_global_grad_norm())

    def save(self, folder: Path) -> dict[str, Any]:
        """Write this rank's shards; see ``Engine``."""
        files = self.model.checkpoint_engine
        files.error = None
        frozen = any(not p.requires_grad for p in self.module.parameters())
        self.model.save_checkpoint(
            str(folder), tag=_TAG, save_latest=False, exclude_frozen_parameters=frozen
        )
        if files.error is not None:
            raise files.error
        return {"model": [_TAG], "optimizer": [_TAG]}

    def load(self, folder: Path, written: Mapping[str, Any]) -> None:
        """Put back what ``save`` wrote; see ``Engine``. Unpickles, so only what was verified."""
        frozen = any(not p.requires_grad for p in self.module.parameters())
        path, _ = self.model.load_checkpoint(
            str(folder), tag=written["model"][0], load_module_strict=not frozen
        )
        if path is None:
            raise FileNotFoundError(f"{_TAG}/")

    def whole_state(self) -> dict[str, Tensor] | None:
        """Return every weight on the main process, if they are sharded; see ``Engine``."""
        if self.zero_stage < 3:
            return None
        state: dict[str, Tensor] = self.accelerator.get_state_dict(self.model) or {}
        # Other ranks get nothing; names are those of `module.model`.
        return {name.removeprefix("model."): tensor for name, tensor in state.items()}


@lru_cache(maxsize=1)
def deepspeed_module() -> Any:
    """Import DeepSpeed without its notes about CPUs.

    Raises:
        ConfigError: It is not installed.
    """
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    try:
        import deepspeed
    except ImportError as error:
        raise ConfigError(
            "training.deepspeed is set and DeepSpeed is not installed: pip install deepspeed, or "
            "set training.deepspeed to null"
        ) from error
    deepspeed.utils.logger.setLevel(logging.ERROR)
    return deepspeed


def _start_deepspeed() -> None:
    """Keep DeepSpeed from compiling, for half a minute, a collective that training never calls."""
    compatible = deepspeed_module().ops.__compatible_ops__
    compatible["deepspeed_shm_comm"] = False


def _backend() -> str:
    return "nccl" if compute_device() == "cuda" else "gloo"


def _is_auto(value: Any) -> bool:
    return value in ("auto", {"enabled": "auto"}, {"enabled": False})


def _hidden_size(model: nn.Module) -> int:
    """Return the width of a model, for the sizes of DeepSpeed's buckets."""
    config = getattr(getattr(model, "model", model), "config", None)
    size = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    if size is None:
        size = math.isqrt(max(getattr(p, "ds_numel", p.numel()) for p in model.parameters()))
    return int(size)


def _part_files(writer: Any) -> Any:
    """Make DeepSpeed's file writer one that never leaves the other ranks waiting at a barrier."""
    write = writer.save

    def save(state_dict: Any, path: str) -> None:
        try:
            fault_point(f"write {Path(path).name}")
            write(state_dict, path)
        except Exception as error:
            writer.error = writer.error or error

    writer.error = None
    writer.save = save
    return writer
