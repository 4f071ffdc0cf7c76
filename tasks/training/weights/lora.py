"""Low-rank adapters (arXiv 2106.09685): train few weights, save a plain model all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tasks.models.randomness import seeded
from tasks.settings.errors import ConfigError
from tasks.storage.files import write_atomic, write_json
from tasks.training.scale import LoraConfig

FOLDER = "adapter"
"""Where a model folder holds the adapter it was merged from."""
_NAME = "default"
_HEAD = "score"


class Adapter:
    """A model with low-rank adapters in its linear layers.

    The model is changed in place and stays the object it was; its base weights are frozen. A reward
    model's head is small and new, so it is trained as it is.
    """

    def __init__(self, model: PreTrainedModel, config: LoraConfig, seed: int) -> None:
        """Put adapters into a model, whose own weights are frozen here.

        Raises:
            ConfigError: A name in ``target_modules`` fits no linear layer.
        """
        from peft import LoraConfig as PeftConfig
        from peft.tuners.lora import LoraModel

        head = getattr(model, _HEAD, None)
        self.model = model
        self._head: nn.Module | None = head if isinstance(head, nn.Linear) else None
        targets = _targets(model, config)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self._peft = PeftConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
            # GPT-2 keeps its matrices transposed.
            fan_in_fan_out=isinstance(model.get_submodule(targets[0]), Conv1D),
            task_type="SEQ_CLS" if self._head is not None else "CAUSAL_LM",
        )
        with seeded("adapter", seed):
            self._tuner = LoraModel(model, self._peft, _NAME)
        if self._head is not None:
            self._head.requires_grad_(True)

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Let the model compute what it did before it was trained, while the block runs."""
        self._tuner.disable_adapter_layers()
        try:
            yield
        finally:
            self._tuner.enable_adapter_layers()

    def merge(self) -> PreTrainedModel:
        """Add the adapters to the weights they adapt and return the model, plain again."""
        merged: PreTrainedModel = self._tuner.merge_and_unload()
        return merged

    def save(self, folder: Path) -> None:
        """Write the adapter as peft's own `PeftModel.from_pretrained` reads it; before `merge`."""
        tensors: dict[str, Tensor] = {
            _peft_name(name): parameter.detach().cpu().contiguous()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        write_atomic(folder / "adapter_model.safetensors", save(tensors))
        settings = {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in self._peft.to_dict().items()
        }
        # Only said here: given to peft while training, it would wrap the head in a module.
        settings["modules_to_save"] = [_HEAD] if self._head is not None else None
        write_json(folder / "adapter_config.json", json.loads(json.dumps(settings)))


def _targets(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """Return the names of the layers that get an adapter."""
    output = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not output and name != _HEAD
    ]
    if config.target_modules == "all-linear":
        return linear
    for wanted in config.target_modules:
        if not any(_ends(name, wanted) for name in linear):
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"training.lora.target_modules names {wanted!r}, and no linear layer of this model "
                f"ends so; known: {', '.join(known)}"
            )
    return [name for name in linear if any(_ends(name, end) for end in config.target_modules)]


def _ends(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")


def _peft_name(name: str) -> str:
    return "base_model.model." + re.sub(rf"\.{_NAME}\.", ".", name)
