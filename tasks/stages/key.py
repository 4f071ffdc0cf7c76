"""Keys of stages: any two processes give the same key to the same work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.storage.digests import sha256_json


def stage_key(
    stage: str,
    version: int,
    *,
    config: Any,
    inputs: Mapping[str, str],
    seed: int | None,
    arguments: Mapping[str, Any] | None = None,
) -> str:
    """Return the SHA-256 of everything that a stage's result may depend on.

    Library versions are not in it; they stand in the manifest.

    Args:
        stage: The stage's name.
        version: The stage's version, raised by hand whenever its body changes meaning.
        config: The part of the config that can change the result, as plain values, or None.
        inputs: The digest of each input by its role.
        seed: Seed of the stage's random choices, or None.
        arguments: Further plain arguments by name.

    Returns:
        64 hex digits.

    Raises:
        TypeError: When a value is not plain, naming it, as in `config.rates[2]`.

    Example:
        >>> stage_key("sample", 1, config={"n": 4}, inputs={"policy": "ab"}, seed=0)[:16]
        '402fe0e7681bef42'
    """
    named = {
        "stage": stage,
        "version": version,
        "config": config,
        "inputs": dict(inputs),
        "seed": seed,
        "arguments": dict(arguments or {}),
    }
    try:
        return sha256_json(named)
    except TypeError as error:
        raise TypeError(f"stage {stage} cannot be given a key: {error}") from error


def stage_title(stage: str, label: str) -> str:
    """Name a call of a stage for people."""
    return f"{stage} · {label}" if label else stage
