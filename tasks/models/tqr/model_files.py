"""A TQR's folder: a plain language model, and beside it the heads and what they are.

model.safetensors …   the language model with its config and tokenizer, as transformers saves it
tqr.safetensors       the heads
tqr.json              their settings: the folder is a TQR's
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from tasks.models.loading import load_weights, save_model
from tasks.models.sampling.config import SamplingConfig
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.group_tqr import GroupTqr, output_shape
from tasks.models.tqr.heads import TqrHeads
from tasks.models.tqr.marker import HEADS_FILE, TQR_FILE, tqr_config, write_marker
from tasks.settings.errors import ConfigError, one_line
from tasks.storage.files import write_atomic, write_json

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def load_tqr(
    path: str | Path,
    context: AbstractContextManager[Any] | None = None,
    *,
    dtype: str = "auto",
) -> GroupTqr:
    """Load a TQR with its trained heads, in eval mode; arguments are those of `load_weights`.

    Raises:
        ConfigError: There is no TQR, or it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = tqr_config(path)
    if config is None:
        raise ConfigError(f"{str(path)!r} holds no TQR: it has no {TQR_FILE}")
    model = load_weights(
        AutoModelForCausalLM,
        path,
        context=context,
        dtype=dtype,
        with_encoder=AutoModelForSeq2SeqLM,
    )
    return GroupTqr(model, _trained_heads(path, model, config)).eval()


def start_heads(path: str | Path, model: PreTrainedModel, config: TqrConfig, seed: int) -> TqrHeads:
    """Return the heads that a training begins with: fresh ones, or those of a TQR.

    Args:
        path: Where the language model comes from.
        model: The language model.
        config: Which heads.
        seed: Of fresh ones.

    Raises:
        ConfigError: A TQR with other settings lies there, its heads cannot be loaded, or the model
            has no output head that we can read.
    """
    found = tqr_config(path)
    if found is None:
        return _heads(model, config, seed)
    if found != config:
        differ = [name for name, value in config if getattr(found, name) != value]
        raise ConfigError(
            f"the TQR {str(path)!r} has other settings than this training "
            f"({', '.join(differ)}): give them alike to go on from it, or start from a policy"
        )
    return _trained_heads(path, model, config)


def _trained_heads(path: str | Path, model: PreTrainedModel, config: TqrConfig) -> TqrHeads:
    heads = _heads(model, config, seed=0)
    try:
        heads.load_state_dict(load_file(Path(path) / HEADS_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"the heads {str(Path(path) / HEADS_FILE)!r} cannot be loaded: {one_line(error)}"
        ) from error
    return heads


def save_tqr(
    model: PreTrainedModel,
    heads: TqrHeads,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    template: str | None = None,
    *,
    max_new_tokens: int | None = None,
) -> None:
    """Save a TQR so that `load_tqr` has it back and plain transformers has its policy.

    Args:
        model: Its language model.
        heads: Its heads.
        tokenizer: Its own.
        folder: Created if absent.
        template: As `save_model` takes it, and so is the rest.
        max_new_tokens: The longest response it was trained on.
    """
    own = model.generation_config
    if own is not None:
        model.generation_config = _drawn_as_trained(own, heads.config)
    try:
        save_model(model, tokenizer, folder, template, max_new_tokens=max_new_tokens)
    finally:
        model.generation_config = own
    tensors = {name: part.detach().cpu().contiguous() for name, part in heads.state_dict().items()}
    write_atomic(folder / HEADS_FILE, save(tensors))
    if not (folder / _INDEX).is_file():
        # vLLM reads every file of weights in a folder but those that an index does not name.
        with safe_open(folder / _WEIGHTS, framework="pt") as weights:
            names = {name: _WEIGHTS for name in weights.keys()}  # noqa: SIM118 - it is no dict
        size = (folder / _WEIGHTS).stat().st_size
        write_json(folder / _INDEX, {"metadata": {"total_size": size}, "weight_map": names})
    write_marker(folder, heads.config)


def _heads(model: PreTrainedModel, config: TqrConfig, seed: int) -> TqrHeads:
    heads = TqrHeads(config, *output_shape(model), seed)
    return heads.to(model.device, torch.promote_types(model.dtype, torch.float32))


def _drawn_as_trained(own: GenerationConfig, config: TqrConfig) -> GenerationConfig:
    """Say how to draw from the policy that the Q values stand for: from all of its tokens."""
    usual, drawn = SamplingConfig(), deepcopy(own)
    drawn.do_sample, drawn.temperature = True, config.temperature
    drawn.top_k, drawn.top_p = usual.top_k, usual.top_p
    return drawn
