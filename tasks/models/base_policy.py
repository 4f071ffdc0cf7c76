"""The policy a run starts from: a model of the user's, or a small one built for the run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from tasks.data.groups import Group
from tasks.models.architecture import ArchitectureConfig
from tasks.models.tokens.templates import find_template
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.settings.log import Log

_HUB_NAME = re.compile(r"([\w-][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?")


class PolicyModelConfig(FrozenConfig):
    """Which policy a run starts from; exactly one of `path`, `hub` and `architecture`."""

    path: Annotated[str | None, NOT_IN_KEY] = None
    """Model folder written by `save_pretrained`, safetensors only, or a GGUF file; what is in it
    counts, not where it lies."""

    hub: str | None = None
    """Model name on the hub. The only thing ever downloaded, and only because it is named."""

    revision: str | None = None
    """Branch, tag or commit of the hub model; default its main branch. Every run takes it at the
    commit where it is when the run begins."""

    architecture: ArchitectureConfig | None = None
    """Shape of a small model with random weights and a tokenizer trained on the run's own data."""

    vocabulary: int = Field(default=4096, ge=259)
    """Entries of the tokenizer trained for `architecture`, special tokens included."""

    template: str | None = None
    """Chat template by name (plain, hh, alpaca, tldr). Default: the tokenizer's own."""

    @model_validator(mode="after")
    def _one_source(self) -> PolicyModelConfig:
        given = [name for name in ("path", "hub", "architecture") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of path, hub and architecture; got {given or 'none'}"
            )
        if self.revision and not self.hub:
            raise ValueError("revision is that of a hub model, and no hub model is named")
        if self.template is not None:
            find_template(self.template)
        elif self.architecture:
            raise ValueError("a built architecture has no chat template of its own: name one")
        return self


def hub_name(source: str) -> tuple[str, str | None]:
    """Return name and revision of a model on the hub, `NAME` or `NAME@REVISION`.

    The name is empty for a folder, and for what can be no hub name.

    Example:
        >>> hub_name("owner/model@v1"), hub_name("../model")
        (('owner/model', 'v1'), ('', None))
    """
    found = _HUB_NAME.fullmatch(source)
    if found is None or Path(source).exists():
        return "", None
    return found[1], found[2]


def corpus_texts(groups: Iterable[Group]) -> Iterator[str]:
    """Yield the texts a tokenizer is trained on: every turn and every response, in order."""
    for group in groups:
        yield from (message.content for message in group.prompt)
        yield from group.responses


def write_base_policy(
    config: PolicyModelConfig,
    folder: Path | None,
    texts: Iterator[str],
    output: Path,
    seed: int,
    log: Log,
) -> dict[str, float]:
    """Write a model folder with weights, tokenizer and chat template.

    Args:
        config: Which model.
        folder: The user's model folder or GGUF file, or None.
        texts: What a tokenizer is trained on; read only for a built architecture.
        output: Where the model goes.
        seed: Of random weights.
        log: Where the size is noted.

    Returns:
        `parameters` and `vocabulary`, both counts.

    Raises:
        ConfigError: The model cannot be loaded, or has no chat template and none is named.
    """
    from tasks.models.architecture import build_policy
    from tasks.models.loading import save_model
    from tasks.models.policy import load_policy
    from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer

    if config.architecture:
        tokenizer = train_tokenizer(texts, config.vocabulary, output)
        model = build_policy(config.architecture, tokenizer, seed)
    else:
        source = str(folder or config.hub)
        tokenizer = load_tokenizer(source, revision=config.revision)
        # It is copied and computes nothing.
        model = load_policy(source, nullcontext(), revision=config.revision)
    save_model(model, tokenizer, output, config.template)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.note(f"{type(model).__name__} with {parameters:,} parameters, vocabulary {len(tokenizer)}")
    return {"parameters": float(parameters), "vocabulary": float(len(tokenizer))}
