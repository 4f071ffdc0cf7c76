"""What can be known to be wrong with a run's models before its first stage: loading and length.

Called only when a stage has to run, as it reads configs and tokenizers with transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flows.apo_config import ApoConfig
from tasks.models.encoding import Limits


class NamedModel(NamedTuple):
    """A model that a configuration names and a stage will load."""

    source: str
    """Folder or hub name."""
    template: str | None
    """Chat template by name; None for the tokenizer's own."""
    limits: tuple[Limits, ...]
    """Every pair of lengths that it will be fed."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""


def check_models(config: ApoConfig) -> None:
    """Read what each named model says of itself, and open its weights without reading them.

    Args:
        config: Of the run that is about to start.

    Raises:
        ConfigError: A model cannot be loaded, has no chat template, or its context is too short.
    """
    for model in named_models(config):
        _check(model)


def named_models(config: ApoConfig) -> Iterator[NamedModel]:
    """Yield the models that the configuration names; a built architecture is none of them."""
    template, limits = config.model.template, config.policy_limits()
    if source := config.model.path or config.model.hub:
        yield NamedModel(source, template, limits, config.model.revision)
    if config.reward.base:
        yield NamedModel(config.reward.base, config.reward.template, (config.reward.limits,))
    for source in config.compare_with.values():
        yield NamedModel(source, template, (config.policy.limits,))


def _check(model: NamedModel) -> None:
    from safetensors import safe_open
    from transformers import AutoConfig

    from tasks.models.checks import check_model_source, load_errors
    from tasks.models.loading import quiet_transformers
    from tasks.models.policy import check_context
    from tasks.models.templates import resolve_template
    from tasks.models.tokenizer import load_tokenizer

    check_model_source(model.source, model.revision)
    with load_errors("model", model.source), quiet_transformers():
        shape = AutoConfig.from_pretrained(
            model.source, trust_remote_code=False, revision=model.revision
        )
        for weights in _weight_files(model.source):
            # A file that breaks off or is something else is found out by its header.
            with safe_open(weights, framework="pt"):
                pass
    for limits in model.limits:
        check_context(shape, limits, f"the model {model.source!r}")
    tokenizer = load_tokenizer(model.source, revision=model.revision)
    resolve_template(tokenizer, model.template)


def _weight_files(source: str) -> Sequence[Path]:
    return sorted(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
