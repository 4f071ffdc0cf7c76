"""The file by which a folder is known to hold a TQR, and not a plain model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.models.tqr.config import TqrConfig
from tasks.settings.errors import ConfigError, one_line
from tasks.storage.errors import CorruptError
from tasks.storage.files import read_json, write_json

TQR_FILE = "tqr.json"
"""Makes a folder a TQR; holds its settings."""
HEADS_FILE = "tqr.safetensors"
"""Holds what it has beside the language model."""


def write_marker(folder: Path, config: TqrConfig) -> None:
    """Make a folder with a language model a TQR's."""
    write_json(folder / TQR_FILE, config.model_dump(mode="json"))


def tqr_config(path: str | Path) -> TqrConfig | None:
    """Return the settings of the TQR in a folder; None where there is no TQR.

    Raises:
        ConfigError: Its settings are damaged, or from another version.
    """
    file = Path(path) / TQR_FILE
    return parse_settings(lambda: read_json(file), repr(str(file))) if file.is_file() else None


def parse_settings(read: Callable[[], Any], name: str) -> TqrConfig:
    """Return a TQR's settings from the plain values that `read` gives; messages call them `name`.

    Raises:
        ConfigError: They are damaged, or from another version.
    """
    try:
        return TqrConfig.model_validate(read())
    except (ValidationError, CorruptError) as error:
        raise ConfigError(
            f"{name} is not a TQR's settings: {one_line(error)}; train it again"
        ) from error


def refuse_as_policy(path: str | Path) -> None:
    """Refuse a TQR whose language model is not its policy.

    Raises:
        ConfigError: It has a Q head of its own, from which its policy would have to draw.
    """
    config = tqr_config(path)
    if config is not None and not config.ptq:
        raise ConfigError(
            f"{str(path)!r} is a TQR without ptq: its Q values have a head of their own, and the "
            "language model in the folder is not the policy that they stand for; use it as a "
            "reward model, or train one with ptq"
        )


def refuse_as_reward_model(path: str | Path) -> None:
    """Refuse a TQR where a model with one score is wanted.

    Raises:
        ConfigError: It is one.
    """
    if tqr_config(path) is not None:
        raise ConfigError(
            f"{str(path)!r} is a TQR: it has rewards for each token and no scalar head; give a "
            "plain reward model here"
        )
