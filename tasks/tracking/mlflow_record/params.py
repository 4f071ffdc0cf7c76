"""Names and values in the form that MLflow takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.storage.digests import canonical_json, sha256_json

LONGEST_KEY = 250
"""Characters of a name that every MLflow takes."""

_LONGEST_VALUE = 500
_LONGEST_TAG = 5000


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn nested plain values into dotted names with short values.

    A value over 500 characters keeps its beginning and gets the SHA-256 of the whole.

    Example:
        >>> flatten({"policy": {"method": "dpo", "rates": [1, 2]}})
        {'policy.method': 'dpo', 'policy.rates': '[1,2]'}
    """
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
            continue
        text = value if isinstance(value, str) else canonical_json(value).decode()
        if len(text) > _LONGEST_VALUE:
            text = f"{text[:_LONGEST_VALUE]}… sha256:{sha256_json(value)}"
        flat[name] = text
    return flat


def clean_name(name: str) -> str:
    """Return a name with MLflow's letters only."""
    return re.sub(r"[^\w.\-:/ ]", "_", name)


def clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags with names and values that MLflow takes."""
    return {
        clean_name(name)[:LONGEST_KEY]: str(value)[:_LONGEST_TAG] for name, value in tags.items()
    }
