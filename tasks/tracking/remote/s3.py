"""A remote that is an object store speaking S3.

No object gets access rights of its own: the bucket's hold.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from email.utils import parsedate_to_datetime
from pathlib import Path

from tasks.storage.digests import FileDigest
from tasks.storage.files import open_output
from tasks.tracking.remote import s3_checks, s3_transfer
from tasks.tracking.remote.base import Finding, RemoteError
from tasks.tracking.remote.s3_bucket import Bucket
from tasks.tracking.remote.s3_retries import NotThereError, RefusedError


class S3Remote:
    """Objects below a prefix of one bucket; it has no slashes at its ends, or is empty."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = Bucket(bucket, prefix)
        self.url = self.bucket.url
        self._write_options: dict[str, str] | None = None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        self.bucket.put(name, data, **self._options())

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create an object by a conditional write."""
        writer = secrets.token_hex(16)
        marks = {"Metadata": {"writer": writer}, **self._options()}
        try:
            self.bucket.put(name, data, IfNoneMatch="*", **marks)
        except RefusedError:
            # A write whose answer was lost is refused when it is repeated, by itself.
            head = self.bucket.head(name)
            return head is not None and head["Metadata"].get("writer") == writer
        return True

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None."""
        data = io.BytesIO()
        try:
            s3_transfer.read(self.bucket, name, data)
        except NotThereError:
            return None
        return data.getvalue()

    def names(self, prefix: str) -> list[str]:
        """Return the full names that begin with `prefix`, sorted."""
        return sorted(name for name in self.sizes(prefix) if not name.startswith(s3_checks.PROBES))

    def age(self, name: str) -> float | None:
        """Return the seconds since an object was written: the server's Date less Last-Modified."""
        head = self.bucket.head(name)
        if head is None:
            return None
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return max(0.0, (now - head["LastModified"]).total_seconds())

    def delete(self, name: str) -> None:
        """Remove an object; an absent one is fine."""
        self.bucket.delete(name)

    def upload(self, name: str, path: Path, *, md5: str | None = None) -> None:
        """Copy a file there, in parts when big; visible only when whole and as it was read."""
        s3_transfer.upload(self.bucket, name, Path(path), md5, self._options())

    def download(self, name: str, path: Path) -> None:
        """Copy an object into a file that appears when it is whole and checked."""
        try:
            with open_output(path, "wb") as out:
                s3_transfer.read(self.bucket, name, out)
        except NotThereError as error:
            raise RemoteError(f"the remote {self.url} holds no {name}") from error

    def content(self, name: str) -> FileDigest | None:
        """Read an object through for its size and digests, without keeping it."""
        found = _Digests()
        try:
            s3_transfer.read(self.bucket, name, found, check=False)
        except NotThereError:
            return None
        return FileDigest(name, found.size, found.md5.hexdigest(), found.sha256.hexdigest())

    def size(self, name: str) -> int | None:
        """Return an object's bytes by what the server says, or None when there is none."""
        head = self.bucket.head(name)
        return None if head is None else int(head["ContentLength"])

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object below a prefix, from listings."""
        return {entry["Key"]: entry["Size"] for entry in self.bucket.listing(prefix)}

    def sweep(self, older_than: float = 3600.0) -> int:
        """Abort multipart uploads, and remove probes, that their writers left."""
        count = s3_transfer.abort_old(self.bucket, older_than)
        for name in self.sizes(s3_checks.PROBES):
            if (age := self.age(name)) is not None and age >= older_than:
                self.delete(name)
                count += 1
        return count

    def findings(self) -> list[Finding]:
        """Look at the bucket for `sparring doctor`."""
        return s3_checks.examine(self.bucket)

    def _options(self) -> dict[str, str]:
        """Return what each write must say; the first refuses a store that is not fit for it."""
        if self._write_options is None:
            s3_checks.require_private(self.bucket)
            options = s3_checks.write_encryption(self.bucket)
            s3_checks.prove_conditional_writes(self.bucket, options)
            self._write_options = options
        return self._write_options


class _Digests:
    """Keeps the size and the digests of what is written into it."""

    def __init__(self) -> None:
        self.size = 0
        self.md5, self.sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self.size += len(data)
        self.md5.update(data)
        self.sha256.update(data)
