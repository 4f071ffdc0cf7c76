"""Weights into memory: safetensors only, no remote code, nothing missing, dropout off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from logging import LogRecord, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.models.precision import compute_device
from tasks.models.pretrained.gguf_files import no_bar, source_arguments, weight_arguments
from tasks.models.prompt_sharing_check import dropouts
from tasks.models.randomness import seeded
from tasks.models.sampling.config import SamplingConfig
from tasks.models.source_checks import check_model_source, load_errors
from tasks.models.tokens.conversations import saved_source
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import (
        GenerationConfig,
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )


def load_weights(
    auto_class: Any,
    path: str | Path,
    *,
    context: AbstractContextManager[Any] | None,
    dtype: str,
    revision: str | None = None,
    with_encoder: Any = None,
    may_lack: str | tuple[str, ...] | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Load a model of one kind, or say in one sentence why not.

    Args:
        auto_class: Transformers' `AutoModelFor…`.
        path: Folder, GGUF file or hub name.
        context: Entered around the loading by who places the model itself, as a training does.
            None: the model is put on the device where models compute.
        dtype: `auto` (as stored), `float32`, `bfloat16`…
        revision: Branch, tag or commit of a hub model; None is its main branch.
        with_encoder: Taken instead of `auto_class` for a model with encoder and decoder.
        may_lack: Start, or starts, of the names of parameters that the folder need not have.
        **kwargs: More for `from_pretrained`.

    Returns:
        The model in eval mode. Its dropout is 0 in train mode too, whatever its config says: two
        log-probabilities that are compared must come from the same network.

    Raises:
        ConfigError: If it cannot be loaded, or lacks a parameter it would need.
    """
    config = load_config(path, revision, **kwargs)
    with (
        load_errors("model", path),
        quiet_transformers(),
        no_bar(path),
        seeded("load"),
        context or nullcontext(),
    ):
        kind = with_encoder if with_encoder and config.is_encoder_decoder else auto_class
        model, info = kind.from_pretrained(
            **source_arguments(path, revision),
            **weight_arguments(path, dtype),
            config=config,
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = sorted(
        name for name in info["missing_keys"] if not (may_lack and name.startswith(may_lack))
    )
    if missing:
        raise ConfigError(
            f"the model {str(path)!r} lacks {len(missing)} weights that "
            f"{type(model).__name__} needs ({missing[0]}, …): give a model of that kind"
        )
    # Where nobody says otherwise, or a forward pass on the CPU would be a matter of forgetting.
    return model.eval() if context else model.eval().to(compute_device())


def load_config(path: str | Path, revision: str | None = None, **kwargs: Any) -> PretrainedConfig:
    """Load what a model says of its own shape, every dropout at 0.

    Args:
        path: Folder, GGUF file or hub name.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        **kwargs: More for `from_pretrained`.

    Raises:
        ConfigError: If it cannot be loaded, asks for code, or has no weights that may be read.
    """
    from transformers import AutoConfig

    check_model_source(path, revision)
    with load_errors("model", path), quiet_transformers():
        config = AutoConfig.from_pretrained(
            **source_arguments(path, revision), trust_remote_code=False, **kwargs
        )
    for name in dropouts(config):
        setattr(config, name, 0.0)
    return config


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    template: str | None = None,
    *,
    max_new_tokens: int | None = None,
) -> None:
    """Save weights (safetensors), tokenizer, chat template and how to generate.

    So the model behaves in plain transformers as it did here.

    Args:
        model: Policy or reward model.
        tokenizer: Its own.
        folder: Created if absent.
        template: Name of the chat template it was trained with; its Jinja source becomes the
            saved tokenizer's chat template, by which it is known again. None: the tokenizer's own.
        max_new_tokens: The longest response it was trained on.
    """
    own = tokenizer.chat_template, getattr(model, "generation_config", None)
    if template is not None:
        tokenizer.chat_template = saved_source(tokenizer, template)
    if own[1] is not None and model.can_generate():
        model.generation_config = _generation_config(own[1], tokenizer, max_new_tokens)
    try:
        with quiet_transformers():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = own[0]
        if own[1] is not None:
            model.generation_config = own[1]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' progress bars and load reports; we check the outcome ourselves."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # Transformers imports DeepSpeed where it is installed, and DeepSpeed warns of every CPU.
    deepspeed = getLogger("DeepSpeed")
    deepspeed.addFilter(_is_no_accelerator_note)
    try:
        yield
    finally:
        deepspeed.removeFilter(_is_no_accelerator_note)
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _generation_config(
    own: GenerationConfig, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int | None
) -> GenerationConfig:
    """Fill in what a model does not say of itself: how responses end, and our sampling defaults."""
    filled = deepcopy(own)
    named = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    ends = dict.fromkeys(end for end in (tokenizer.eos_token_id, *named) if end is not None)
    filled.eos_token_id = list(ends) if len(ends) > 1 else tokenizer.eos_token_id
    if tokenizer.pad_token_id is not None:
        filled.pad_token_id = tokenizer.pad_token_id
    elif own.pad_token_id is None:
        filled.pad_token_id = tokenizer.eos_token_id
    usual = SamplingConfig()
    defaults: dict[str, Any] = {"do_sample": True, "max_new_tokens": max_new_tokens}
    # Left open, transformers would draw among the 50 likeliest tokens.
    defaults |= {name: getattr(usual, name) for name in ("temperature", "top_k", "top_p")}
    # A model that names a way of drawing was made for all of it.
    names = ("do_sample", "temperature", "top_k", "top_p")
    says_how = any(getattr(own, name, None) is not None for name in names)
    for name, value in defaults.items():
        if getattr(own, name, None) is None and not (says_how and name in names):
            setattr(filled, name, value)
    # So that what it says counts, and is not made anew from config.json.
    filled._from_model_config = False
    return filled


def _is_no_accelerator_note(record: LogRecord) -> bool:
    return not record.getMessage().startswith("Setting accelerator to CPU")
