"""The user's files and folders as inputs of a flow, so that their content is part of every key."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.data.playground.generator import ensure_playground
from tasks.data.prepare import DataConfig
from tasks.initialise_policy import initialise_policy
from tasks.models.base_policy import PolicyModelConfig
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact, external_artifact

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


def file_artifact(path: str | Path | None) -> Artifact | None:
    """Return a file or folder of the user's as an input; None where none is named.

    Args:
        path: As written in the config.

    Raises:
        ConfigError: There is no such file or folder.
    """
    return None if path is None else _existing(path)


def model_artifact(name: str, template: str | None, label: str) -> Artifact:
    """Return a model that the config names: its folder as it lies, a hub model as stored here.

    Args:
        name: Model folder; or hub name, where there is no such folder.
        template: Chat template by name; None for the tokenizer's own.
        label: What it is for.

    Raises:
        ConfigError: There is no such folder, and it can be no hub name.
    """
    if Path(name).exists() or not _HUB_NAME.fullmatch(name):
        return _existing(name)
    settings = PolicyModelConfig(hub=name, template=template)
    return initialise_policy([], None, config=settings, seed=0, label=label)


def source_artifacts(config: DataConfig) -> list[Artifact]:
    """Return every local file that a data configuration names, in the order of its keys.

    The playground's files are generated where they are missing. A hub data set has no file here;
    its name and revision are in the key through the config.

    Args:
        config: Sources of preferences, test pairs, demonstrations, queries and further pairs.

    Raises:
        ConfigError: A file is missing, or the playground's folder holds another playground.
    """
    if config.playground:
        ensure_playground(config.playground)
    return [external_artifact(path) for path in config.local_files()]


def oracle_artifact(config: DataConfig) -> Artifact | None:
    """Return the world that knows the true reward, where the data comes from the playground."""
    if config.playground is None:
        return None
    return external_artifact(Path(config.playground.folder) / "world.json")


def _existing(path: str | Path) -> Artifact:
    if not Path(path).exists():
        raise ConfigError(f"there is no file or folder '{path}'; check the path in the config")
    return external_artifact(Path(path))
