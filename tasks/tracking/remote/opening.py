"""Which remote this process uses: the environment variable `SPARRING_REMOTE` names it.

It is an absolute folder (a shared disk), or `s3://bucket[/prefix]`. Without it there is none, and
everything stays in the home of one machine.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import Remote

VARIABLE = "SPARRING_REMOTE"
"""The environment variable that names the remote."""

_HOW = f"set {VARIABLE} to the absolute path of a shared folder, or to s3://BUCKET/PREFIX"


def open_remote(url: str | None = None) -> Remote | None:
    """Return the remote, one object per process and place, or None when none is named.

    Nothing is contacted yet.

    Args:
        url: An absolute folder or `s3://bucket[/prefix]`; `SPARRING_REMOTE` by default.

    Raises:
        ConfigError: For anything else.
    """
    url = os.environ.get(VARIABLE, "") if url is None else str(url)
    return _open(url.rstrip("/") or url) if url else None


def require_remote() -> Remote:
    """Return the remote; raises `ConfigError` saying how to name one when there is none."""
    remote = open_remote()
    if remote is None:
        raise ConfigError(f"this needs a remote, and none is named: {_HOW}")
    return remote


@lru_cache(maxsize=16)
def _open(url: str) -> Remote:
    """Make the object for a URL."""
    if url.startswith("s3://"):
        matched = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w.=+-]+)*)", url)
        parts = matched.group(2).split("/") if matched else []
        if not matched or {".", ".."} & set(parts):
            raise ConfigError(
                f"{VARIABLE} is {url!r}: write s3://BUCKET or s3://BUCKET/PREFIX; credentials and"
                " the endpoint go into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL"
            )
        from tasks.tracking.remote.s3 import S3Remote

        return S3Remote(matched.group(1), matched.group(2).strip("/"))
    if not Path(url).is_absolute() or "://" in url:
        raise ConfigError(f"the remote {url!r} is no absolute folder and no s3:// address: {_HOW}")
    from tasks.tracking.remote.folder import FolderRemote

    return FolderRemote(Path(url))
