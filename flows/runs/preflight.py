"""What can be known to be wrong with a run's models before its first stage: loading and length.

Called only when a stage has to run, as it reads configs and tokenizers with transformers.
"""

from __future__ import annotations

from pathlib import Path

from flows.configs.recurring import ModelSource, RecurringConfig


def check_models(config: RecurringConfig) -> None:
    """Read what each named model says of itself, and open its weights without reading them.

    Raises:
        ConfigError: A model cannot be loaded, has no chat template, or its context is too short.
    """
    for model in config.named_models():
        _check(model)


def _check(model: ModelSource) -> None:
    from safetensors import safe_open
    from transformers import AutoConfig

    from tasks.models.loading import quiet_transformers
    from tasks.models.policy import check_context
    from tasks.models.source_checks import check_model_source, load_errors
    from tasks.models.tokens.conversations import resolve_template
    from tasks.models.tokens.tokenizer import load_tokenizer

    check_model_source(model.source, model.revision)
    with load_errors("model", model.source), quiet_transformers():
        shape = AutoConfig.from_pretrained(
            model.source, trust_remote_code=False, revision=model.revision
        )
        # A hub model is no folder here, and so has no files.
        for weights in sorted(Path(model.source).glob("*.safetensors")):
            # A file that breaks off or is something else is found out by its header.
            with safe_open(weights, framework="pt"):
                pass
    for limits in model.limits:
        check_context(shape, limits, f"the model {model.source!r}")
    tokenizer = load_tokenizer(model.source, revision=model.revision)
    resolve_template(tokenizer, model.template)
