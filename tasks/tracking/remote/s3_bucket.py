"""One bucket, asked through boto3: single requests with retries and errors that have names.

The address and the credentials are boto3's own business: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_PROFILE, an instance's role and so on.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.s3_retries import QUICK_ATTEMPTS, NotThereError, Retries

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_CONNECTIONS = 32
_PAGE = 1000
_making = threading.Lock()


class Bucket:
    """The objects of one bucket below a prefix without slashes at its ends, or an empty one."""

    def __init__(self, name: str, prefix: str = "") -> None:
        self.name = name
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{name}/{prefix}".rstrip("/")
        self._client_of: tuple[int, Any, Retries] | None = None
        self._is_there = False

    @property
    def client(self) -> Any:
        """boto3's client, one per process: it does not outlive a fork."""
        return self._connection()[0]

    @contextmanager
    def asking(self, action: str, name: str) -> Iterator[Any]:
        """Give boto3's client to a block, and name what goes wrong as `Retries.naming` does."""
        client, retries = self._connection()
        if not self._is_there:
            # A missing object and a missing bucket look the same to HEAD.
            with retries.naming("list", self.prefix):
                client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)
            self._is_there = True
        with retries.naming(action, name):
            yield client

    def place(self, name: str) -> dict[str, str]:
        """Return how boto3 is told which object is meant."""
        return {"Bucket": self.name, "Key": self.prefix + name}

    def ask(self, action: str, name: str, operation: str, **values: Any) -> Any:
        """Carry out one operation of boto3's client on one object."""
        with self.asking(action, name) as client:
            return getattr(client, operation)(**self.place(name), **values)

    def put(self, name: str, data: bytes, **options: Any) -> Any:
        """Write an object in one request; the server checks that it got what was sent."""
        return self.ask("write", name, "put_object", Body=data, **options)

    def head(self, name: str) -> Any | None:
        """Return what the server says of an object, or None when there is none."""
        try:
            return self.ask("look at", name, "head_object")
        except NotThereError:
            return None

    def delete(self, name: str) -> None:
        """Remove an object; an absent one is fine."""
        try:
            self.ask("delete", name, "delete_object")
        except NotThereError:
            return

    def listing(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield what listings say of the objects below a prefix, keys without the bucket's own."""
        values: dict[str, Any] = {"Bucket": self.name, "Prefix": self.prefix + prefix}
        values["MaxKeys"] = _PAGE
        while True:
            with self.asking("list", prefix) as client:
                page = client.list_objects_v2(**values)
            for entry in page.get("Contents", []):
                yield {**entry, "Key": entry["Key"].removeprefix(self.prefix)}
            if not page.get("IsTruncated"):
                return
            values["ContinuationToken"] = page["NextContinuationToken"]

    def _connection(self) -> tuple[Any, Retries]:
        known = self._client_of
        if known is None or known[0] != os.getpid():
            with _making:
                client = _make_client()
            retries = Retries(self.name, client.meta.endpoint_url)
            client.meta.events.register_last("needs-retry.s3", retries.pause)
            self._client_of = known = os.getpid(), client, retries
        return known[1], known[2]


def _make_client() -> Any:
    """Make a client of boto3 with retries, timeouts, checked writes and enough connections."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    settings = Config(
        retries={"mode": "standard", "total_max_attempts": QUICK_ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        region = os.environ.get("AWS_REGION") or None
        session = boto3.session.Session(region_name=region)
        client = session.client(
            "s3", config=settings, region_name=session.region_name or "us-east-1"
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"boto3 cannot be set up: {error}; check the AWS_ variables") from error
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"before-call.s3.{operation}", _add_md5)
    return client


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """Send the MD5 of what is written, which every server checks.

    The checksums that botocore adds by itself are CRCs, which stores other than Amazon's may leave
    unread: `test_a_server_checks_what_it_gets` in tests/tasks/tracking/remote.
    """
    body = params["body"]
    if not isinstance(body, bytes):
        body = params["body"].read()
        params["body"].seek(0)
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
