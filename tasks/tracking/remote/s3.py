"""A remote that is an object store speaking S3; the only file that imports boto3.

The address and the credentials are boto3's own business: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_PROFILE, an instance's role and so on. No object gets access rights of its own: the
bucket's hold.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tasks.settings.errors import ConfigError
from tasks.storage.files import open_output
from tasks.tracking.remote import s3_checks, s3_claims, s3_transfer
from tasks.tracking.remote.base import Content, Finding, RemoteError
from tasks.tracking.remote.s3_retries import (
    Caller,
    NotSupportedError,
    NotThereError,
    RefusedError,
    UploadGoneError,
)

_T = TypeVar("_T")
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_CONNECTIONS = 32
_PAGE = 1000
_HIDDEN = (s3_claims.CLAIMS, ".probe/")
_making = threading.Lock()


class S3Remote:
    """Objects below a prefix of one bucket.

    Args:
        bucket: its name.
        prefix: begins every object's name there, without slashes at its ends; "" for none.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client_of: tuple[int, Any] | None = None
        self._caller: Caller | None = None
        self._conditional: bool | None = None
        self._encryption: dict[str, str] | None = None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        self._put(name, data)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create an object by a conditional write, or by claims where the server has none."""
        if self._conditional is None:
            self._conditional = self._honours_conditions()
        if not self._conditional:
            return s3_claims.claim(self, name, data)
        token = secrets.token_hex(16)
        try:
            self._put(name, data, writer=token, IfNoneMatch="*")
        except RefusedError:
            # A write whose answer was lost is refused when it is repeated, by itself.
            return self.writer(name) == token
        return True

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None."""
        try:
            return b"".join(s3_transfer.read(self, name))
        except NotThereError:
            return None

    def names(self, prefix: str) -> list[str]:
        """Return the full names that begin with `prefix`, sorted."""
        return [name for name in self.all_names(prefix) if not name.startswith(_HIDDEN)]

    def age(self, name: str) -> float | None:
        """Return the seconds since an object was written: the server's Date less Last-Modified."""
        head = self.head(name)
        if head is None:
            return None
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return max(0.0, (now - head["LastModified"]).total_seconds())

    def delete(self, name: str) -> None:
        """Remove an object; an absent one is fine."""
        try:
            self.ask("delete", name, "delete_object")
        except NotThereError:
            return

    def upload(self, name: str, path: Path, *, md5: str | None = None) -> None:
        """Copy a file there, in parts when it is big; visible only when whole and as it was read.

        Raises:
            RemoteError: also when `md5` is given and the file is not what it says.
        """
        s3_transfer.upload(self, name, Path(path), md5)

    def download(self, name: str, path: Path) -> None:
        """Copy an object into a file that appears when it is whole and checked."""
        try:
            with open_output(path, "wb") as out:
                for piece in s3_transfer.read(self, name):
                    out.write(piece)
        except NotThereError as error:
            raise RemoteError(f"the remote {self.url} holds no {name}") from error

    def content(self, name: str) -> Content | None:
        """Read an object through for its size and digests, without keeping it."""
        md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        try:
            for piece in s3_transfer.read(self, name, check=False):
                md5.update(piece)
                sha256.update(piece)
                size += len(piece)
        except NotThereError:
            return None
        return Content(size, md5.hexdigest(), sha256.hexdigest())

    def size(self, name: str) -> int | None:
        """Return an object's bytes by what the server says, or None when there is none."""
        head = self.head(name)
        return None if head is None else int(head["ContentLength"])

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object below a prefix, from listings."""
        return {entry["Key"]: entry["Size"] for entry in self._list(prefix)}

    def sweep(self, older_than: float = 3600.0) -> int:
        """Abort multipart uploads, and remove claims, that their writers left."""
        count = s3_transfer.abort_old(self, older_than)
        for hidden in _HIDDEN:
            for name in self.all_names(hidden):
                if (age := self.age(name)) is not None and age >= older_than:
                    self.delete(name)
                    count += 1
        return count

    def findings(self) -> list[Finding]:
        """Look at the bucket for `sparring doctor`."""
        return s3_checks.examine(self)

    # What the other files of this remote are made of.

    def call(self, action: str, name: str, request: Callable[[], _T]) -> _T:
        """Carry a request out through the retries; looks at the bucket first, once."""
        if self._caller is None:
            caller = Caller(self.bucket, self.client.meta.endpoint_url)
            first = {"Bucket": self.bucket, "Prefix": self.prefix, "MaxKeys": 1}
            # A missing object and a missing bucket look the same to HEAD.
            caller.call("list", self.prefix, lambda: self.client.list_objects_v2(**first))
            self._caller = caller
        return self._caller.call(action, name, request)

    def ask(self, action: str, name: str, operation: str, **values: Any) -> Any:
        """Carry out one operation of boto3's client on one object."""
        where = {"Bucket": self.bucket, "Key": self.prefix + name}
        method = getattr(self.client, operation)
        return self.call(action, name, lambda: method(**where, **values))

    def head(self, name: str) -> Any | None:
        """Return what the server says of an object, or None when there is none."""
        try:
            return self.ask("look at", name, "head_object")
        except NotThereError:
            return None

    def all_names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, also those that are no objects of ours."""
        return sorted(entry["Key"] for entry in self._list(prefix))

    def signed_put(self, name: str, data: bytes, writer: str) -> None:
        """Write an object that remembers who wrote it."""
        self._put(name, data, writer=writer)

    def writer(self, name: str) -> str | None:
        """Return who wrote an object, "" for nobody known, None when there is none."""
        head = self.head(name)
        return None if head is None else str(head["Metadata"].get("writer", ""))

    def encryption(self) -> dict[str, str]:
        """Return what a write must say to be encrypted as the bucket wants; looked up once."""
        if self._encryption is None:
            self._encryption = s3_checks.write_encryption(self)
        return self._encryption

    @property
    def client(self) -> Any:
        """boto3's client, one per process: it does not outlive a fork."""
        known = self._client_of
        if known is None or known[0] != os.getpid():
            with _making:
                self._client_of = known = os.getpid(), _make_client()
        return known[1]

    def _put(self, name: str, data: bytes, writer: str = "", **condition: str) -> None:
        """Write an object in one request; the server checks that it got what was sent."""
        check = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        marks = {"Metadata": {"writer": writer}} if writer else {}
        values = {**marks, **self.encryption(), **condition}
        self.ask("write", name, "put_object", Body=data, ContentMD5=check, **values)

    def _list(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield what listings say of the objects below a prefix, keys without ours."""
        values: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        values["MaxKeys"] = _PAGE
        while True:
            page = self.call("list", prefix, partial(self.client.list_objects_v2, **values))
            for entry in page.get("Contents", []):
                yield {**entry, "Key": entry["Key"].removeprefix(self.prefix)}
            if not page.get("IsTruncated"):
                return
            values["ContinuationToken"] = page["NextContinuationToken"]

    def _honours_conditions(self) -> bool:
        """Find out whether the server honours `If-None-Match: *`, refuses or ignores it."""
        if self.client.meta.endpoint_url.endswith("amazonaws.com"):
            return True
        name = f".probe/{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(8)}"
        try:
            self._put(name, b"", IfNoneMatch="*")
            self._put(name, b"", IfNoneMatch="*")
        except RefusedError:
            return True
        except (NotSupportedError, UploadGoneError):
            return False
        finally:
            self.delete(name)
        return False


def _make_client() -> Any:
    """Make a client of boto3 with retries, timeouts and enough connections."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    settings = Config(
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        # We send and check digests that every server knows; newer checksums confuse some.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        region = os.environ.get("AWS_REGION") or None
        session = boto3.session.Session(region_name=region)
        return session.client("s3", config=settings, region_name=session.region_name or "us-east-1")
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"boto3 cannot be set up: {error}; check the AWS_ variables") from error
