"""What can be known to be wrong with a run before its first stage: files, models, GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flows.configs.placement import Placement
from flows.configs.recurring import ModelSource, RecurringConfig
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import require_rows
from tasks.endpoints.config import EndpointConfig
from tasks.gold.people.config import LabelStudioConfig
from tasks.models.source_checks import check_local_model, looks_local
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, require_path
from tasks.settings.parts import configs_in, gpus_in


def check_files(config: RecurringConfig) -> None:
    """Refuse a configuration whose files are not there or empty, or whose models are too short.

    Of a data file the first record is read, of a model's folder what its config says. What a run
    makes itself, its playground, is not missed, and hub names are not looked up.

    Raises:
        ConfigError: One is so; it is named, with the folder that a relative path counts from.
    """
    for source in named_sources(config):
        if source.path and not is_made(config, source.path):
            require_rows(source)
    models = (model.source for model in config.named_models() if looks_local(model.source))
    for path in (*filter(None, config.own_paths()), *models):
        if not is_made(config, path):
            require_path(path)
    for model in config.named_models():
        check_local_model(model.source, model.limits, decoder=model.decoder)


def is_made(config: RecurringConfig, path: str) -> bool:
    """Return whether a run makes a file itself: those of its playground."""
    world = config.playground()
    return world is not None and Path(path).is_relative_to(world.folder)


def named_sources(config: FrozenConfig) -> Iterator[SourceConfig]:
    """Yield every data source that a configuration names."""
    return (one for _, one in configs_in(config) if isinstance(one, SourceConfig))


def check_models(config: RecurringConfig) -> None:
    """Read what each named model says of itself, and open its weights without reading them.

    Called only when a stage has to run, as it reads configs and tokenizers with transformers.

    Raises:
        ConfigError: A model cannot be loaded, has no chat template, or its context is too short.
    """
    for model in config.named_models():
        check_model(model)


def check_keys(config: FrozenConfig) -> None:
    """Refuse a configuration whose servers cannot be asked for want of a key or token.

    Raises:
        ConfigError: The environment does not have one; its variable is named.
    """
    for _, part in configs_in(config):
        if isinstance(part, EndpointConfig):
            part.key_value()
        elif isinstance(part, LabelStudioConfig):
            part.token_value()


def check_gpus(config: FrozenConfig) -> None:
    """Refuse a configuration in which a stage uses more GPUs than it will ever get.

    A machine without any is not refused: it does the same on its processor.

    Raises:
        ConfigError: This machine, or the share of a pool, has fewer; names the key.
    """
    key, most = max(gpus_in(config), key=lambda one: one[1], default=("", 0))
    if most <= 1:
        return
    placement = getattr(config, "placement", Placement())
    if (place := placement.places().get("gpu")) is not None:
        there, where = place.slots, f"placement.gpu.slots of pool {place.pool!r} says"
    else:
        from tasks.stages.leases.gpus import machine_gpus

        there, where = len(machine_gpus()), "this machine shows"
    if there and most > there:
        raise ConfigError(
            f"{key} is {most}, one GPU each, and {where} {there}: lower it, or name a pool that "
            "has so many in placement.gpu"
        )


def check_model(model: ModelSource) -> None:
    """Read what a model says of itself, and open its weights without reading them.

    Raises:
        ConfigError: It cannot be loaded, has no chat template, its context is too short, it has an
            encoder where only a decoder serves, or fewer layers than are to be trained.
    """
    from safetensors import safe_open

    from tasks.models.loading import load_config
    from tasks.models.policy import check_context
    from tasks.models.source_checks import load_errors, require_decoder
    from tasks.models.tokens.conversations import resolve_template
    from tasks.models.tokens.tokenizer import load_tokenizer

    shape = load_config(model.source, model.revision)
    with load_errors("model", model.source):
        # A hub model is no folder here, and so has no files.
        for weights in sorted(Path(model.source).glob("*.safetensors")):
            # A file that breaks off or is something else is found out by its header.
            with safe_open(weights, framework="pt"):
                pass
    if model.decoder:
        require_decoder(shape.is_encoder_decoder, f"the model {model.source!r}")
    key, layers = model.layers
    # Of a model with an encoder, those of its decoder are trained.
    of_decoder = (getattr(shape, name, None) for name in ("num_decoder_layers", "decoder_layers"))
    there = next(filter(None, of_decoder), shape.num_hidden_layers)
    if layers > there:
        raise ConfigError(
            f"{key} is {layers}, and the model {model.source!r} has {there} layers: lower it, or "
            "leave it out to train all weights"
        )
    for limits in model.limits:
        check_context(shape, limits, f"the model {model.source!r}")
    tokenizer = load_tokenizer(model.source, revision=model.revision)
    resolve_template(tokenizer, model.template)
