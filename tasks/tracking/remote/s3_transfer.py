"""Files of any size: uploads that appear whole and as they were read, downloads that are checked.

What fits into a part goes in one request. The rest is s3transfer's: parts, several at once, read
again where they broke off. What s3transfer does not do is here: the MD5 of the whole on its way,
and an upload whose last answer was lost (`test_a_fifth_of_the_answers_failing_loses_nothing` in
tests/tasks/tracking/remote).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any, Protocol

from tasks.tracking.remote.base import DamagedError, RemoteError, damaged_file
from tasks.tracking.remote.s3_bucket import Bucket
from tasks.tracking.remote.s3_retries import NotThereError, UploadGoneError

PART_BYTES = 16 * 1024 * 1024
_AT_ONCE = 4


class Sink(Protocol):
    """What a download is written into."""

    def write(self, data: bytes, /) -> Any:
        """Take the next piece."""


def upload(
    bucket: Bucket, name: str, path: Path, md5: str | None, options: Mapping[str, str]
) -> None:
    """Copy a file, which should have an MD5, there; each request carries one that is checked.

    Raises:
        DamagedError: The file is not what `md5` says.
        RemoteError: The file changed meanwhile, or the remote failed.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        source = _CheckedFile(path, file, size, md5)
        if size <= PART_BYTES:
            data = source.read()
            answer = bucket.put(name, data, Metadata={"md5": source.md5.hexdigest()}, **options)
            if answer["ETag"].strip('"') == source.md5.hexdigest():
                # The server names the object by what it got.
                return
        else:
            _upload_parts(bucket, name, source, size, md5, options)
    head = bucket.head(name)
    if head is None or head["ContentLength"] != size:
        stored = "nothing" if head is None else f"{head['ContentLength']} bytes"
        raise RemoteError(f"{bucket.url} holds {stored} of {name} after {size} bytes were pushed")


def read(bucket: Bucket, name: str, sink: Sink, *, check: bool = True) -> None:
    """Write an object into `sink`, piece by piece in order.

    The last piece comes before a check can fail: keep nothing of it until this returns.

    Args:
        bucket: The bucket that has it.
        name: The object.
        sink: Takes the pieces.
        check: Compare with the MD5 that the object carries or is named by, where it has one.

    Raises:
        NotThereError: There is no such object.
        DamagedError: It is not what it was.
        RemoteError: It changed meanwhile.
    """
    digest = _DigestingSink(sink)
    with bucket.asking("read", name) as client:
        facts = client.get_object(**bucket.place(name))
        if (data := _small_body(facts)) is not None:
            digest.write(data)
        else:
            _transfer(
                client, "download", facts["ContentLength"], facts["ETag"], fileobj=digest,
                **_place(bucket, name),
            )  # fmt: skip
    known, found = _known_md5(facts), digest.md5.hexdigest()
    if check and known and found != known:
        raise DamagedError(
            f"{name} on {bucket.url} is damaged: its MD5 is {found} and should be {known}"
        )


def abort_old(bucket: Bucket, older_than: float) -> int:
    """Abort multipart uploads that began longer ago than `older_than` seconds; returns how many."""
    count = 0
    values: dict[str, Any] = {"Bucket": bucket.name, "Prefix": bucket.prefix}
    while True:
        with bucket.asking("list uploads below", bucket.prefix) as client:
            page = client.list_multipart_uploads(**values)
        now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
        for found in page.get("Uploads", []):
            begun = found["Initiated"]
            if (now - begun.astimezone(UTC)).total_seconds() >= older_than:
                name = found["Key"].removeprefix(bucket.prefix)
                try:
                    bucket.ask("abort", name, "abort_multipart_upload", UploadId=found["UploadId"])
                except (UploadGoneError, NotThereError):
                    continue
                count += 1
        if not page.get("IsTruncated"):
            return count
        values["KeyMarker"] = page["NextKeyMarker"]
        values["UploadIdMarker"] = page["NextUploadIdMarker"]


class _CheckedFile:
    """A file that is read once from front to end, and checked when its end is reached."""

    def __init__(self, path: Path, file: IO[bytes], size: int, md5: str | None) -> None:
        self._path, self._file = path, file
        self._missing, self._expected = size, md5
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, amount: int = -1) -> bytes:
        """Return the next bytes, all that are left by default; b"" at the end."""
        data = self._file.read(amount)
        self.md5.update(data)
        self._missing -= len(data)
        if amount < 0 or not data:
            self._check()
        return data

    def _check(self) -> None:
        """Raise when what was read is not what was to be pushed, before any of it is visible."""
        if self._missing:
            raise RemoteError(
                f"{self._path} changed while it was being pushed; let its writer finish first"
            )
        if self._expected is not None and self.md5.hexdigest() != self._expected:
            raise damaged_file(self._path, self._expected, self.md5.hexdigest())


class _DigestingSink:
    """Passes pieces on, and knows the MD5 of all of them."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self.md5.update(data)
        self._sink.write(data)


def _upload_parts(
    bucket: Bucket,
    name: str,
    source: _CheckedFile,
    size: int,
    md5: str | None,
    options: Mapping[str, str],
) -> None:
    """Send a big file in parts; s3transfer aborts the upload when anything goes wrong."""
    writer = secrets.token_hex(16)
    marks = {"writer": writer, **({"md5": md5} if md5 else {})}
    try:
        with bucket.asking("write", name) as client:
            _transfer(
                client, "upload", size, fileobj=source,
                extra_args={"Metadata": marks, **options}, **_place(bucket, name),
            )  # fmt: skip
    except UploadGoneError as error:
        # The answer to the last request was lost, and the upload is gone: it is complete.
        head = bucket.head(name)
        if head is None or head["Metadata"].get("writer") != writer:
            raise RemoteError(
                f"the upload of {name} to {bucket.url} was aborted from elsewhere; run again"
            ) from error


def _transfer(client: Any, way: str, size: int, tag: str | None = None, **values: Any) -> None:
    """Let s3transfer "upload" or "download" an object of a known size, and ETag if it has one."""
    from s3transfer.manager import TransferConfig, TransferManager
    from s3transfer.subscribers import BaseSubscriber

    class Known(BaseSubscriber):
        def on_queued(self, future: Any, **_: Any) -> None:
            future.meta.provide_transfer_size(size)
            if tag:
                future.meta.provide_object_etag(tag)

    # Both ways hold parts in memory: a file is read, and written, from front to end.
    settings = TransferConfig(
        multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES,
        max_request_concurrency=_AT_ONCE, max_submission_concurrency=1,
        max_in_memory_upload_chunks=_AT_ONCE, max_in_memory_download_chunks=_AT_ONCE,
    )  # fmt: skip
    with TransferManager(client, settings) as manager:
        getattr(manager, way)(subscribers=[Known()], **values).result()


def _place(bucket: Bucket, name: str) -> dict[str, str]:
    """Return how s3transfer is told which object is meant."""
    return {"bucket": bucket.name, "key": bucket.prefix + name}


def _small_body(facts: Any) -> bytes | None:
    """Return an object's bytes from the answer to its first request; None if they do not fit.

    None also when the answer broke off: s3transfer, unlike botocore, reads a body again.
    """
    from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS

    with closing(facts["Body"]) as body:
        if facts["ContentLength"] > PART_BYTES:
            return None
        try:
            return bytes(body.read())
        except S3_RETRYABLE_DOWNLOAD_ERRORS:
            return None


def _known_md5(facts: Any) -> str | None:
    """Return the MD5 that an object should have: what its writer noted, or a plain ETag."""
    if noted := facts["Metadata"].get("md5"):
        return str(noted)
    tag = str(facts["ETag"]).strip('"')
    encrypted = facts.get("ServerSideEncryption") == "aws:kms" or "SSECustomerAlgorithm" in facts
    return tag if len(tag) == 32 and not encrypted else None
