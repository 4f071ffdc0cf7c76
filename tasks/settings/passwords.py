"""Texts without the passwords that they may hold: of addresses, and of this process's environment.

Our errors, what a console prints and what is on its way to MLflow pass here, so that nobody who
writes a sentence has to think of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_STARS = "***"
_LOGIN = re.compile(
    r"(?P<before>://([^\s/:@\"']*:)?)(?P<secret>[^\s/\"']+)@"
    r"|(?P<bucket>s3://[^\s/:@\"']*:)(?P<key>[^\s\"']+)@"  # keys of AWS hold slashes
)
_SECRET = re.compile(r"(PASSWORD|SECRET|SECRET_KEY|SECRET_ACCESS_KEY|TOKEN|API_KEY|AUTH_STRING)$")
_SHORTEST = 6
"""Characters of a secret that is looked for by itself; in a shorter one every word would go."""


def without_passwords(text: str) -> str:
    """Return a text with the passwords of its addresses, and those we were given, as stars.

    Example:
        >>> without_passwords("nothing answers at https://me:p@ss@example.org/api")
        'nothing answers at https://me:***@example.org/api'
    """
    if "://" in text:
        text = _LOGIN.sub(lambda found: f"{found['before'] or found['bucket']}{_STARS}@", text)
    for secret in _given():
        text = text.replace(secret, _STARS)
    return text


def without_any(value: Any) -> Any:
    """Return plain values, nested, with every text of them as by `without_passwords`."""
    if isinstance(value, str):
        return without_passwords(value)
    if isinstance(value, Mapping):
        return {name: without_any(one) for name, one in value.items()}
    return [without_any(one) for one in value] if isinstance(value, list | tuple) else value


def _given() -> list[str]:
    """Return the secrets in the environment, the longest first: one may be a part of another."""
    found = set()
    # The thread that records in MLflow sets a variable for a moment: one may be gone by now.
    for name in list(os.environ):
        value = os.environ.get(name, "")
        if _SECRET.search(name):
            found |= {value, value.partition(":")[2]}
        if "://" in value and (login := _LOGIN.search(value)):
            secret = login["secret"] or login["key"]
            found |= {secret, unquote(secret)}
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)
