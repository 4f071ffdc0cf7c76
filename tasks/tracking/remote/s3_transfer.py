"""Big objects: uploads in parts that appear whole, downloads that go on where they broke off."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tasks.tracking.remote.base import DamagedError, RemoteError, damaged_file
from tasks.tracking.remote.s3_retries import NotThereError, RefusedError, UploadGoneError

_T = TypeVar("_T")
PART_BYTES = 50 * 1024 * 1024
_MOST_PARTS = 10_000
_AT_ONCE = 4
_CHUNK = 1 << 20


class Bucket(Protocol):
    """What a transfer needs of the remote."""

    bucket: str
    prefix: str
    url: str

    @property
    def client(self) -> Any:
        """boto3's client."""
        ...

    def call(self, action: str, name: str, request: Callable[[], _T]) -> _T:
        """Carry a request out through the retries."""
        ...

    def ask(self, action: str, name: str, operation: str, **values: Any) -> Any:
        """Carry out one operation of the client."""
        ...

    def head(self, name: str) -> Any | None:
        """Return what the server says of an object."""
        ...

    def encryption(self) -> dict[str, str]:
        """Return what a write must say to be encrypted as the bucket wants."""
        ...


def upload(remote: Bucket, name: str, path: Path, md5: str | None = None) -> None:
    """Copy a file to the remote; each request carries an MD5 that the server checks.

    Args:
        remote: where to.
        name: the object.
        path: the file, read once.
        md5: what the file should be (hex).

    Raises:
        DamagedError: the file is not what `md5` says.
        RemoteError: the file changed meanwhile, or the remote failed.
    """
    if (size := path.stat().st_size) > PART_BYTES:
        _upload_parts(remote, name, path, size, md5)
    else:
        data = path.read_bytes()
        size, found = len(data), hashlib.md5(data, usedforsecurity=False)
        if md5 is not None and found.hexdigest() != md5:
            raise damaged_file(path, md5, found.hexdigest())
        values = {"Body": data, "ContentMD5": _base64(found.digest()), **remote.encryption()}
        marks = {"md5": found.hexdigest()}
        answer = remote.ask("write", name, "put_object", **values, Metadata=marks)
        if answer["ETag"].strip('"') == found.hexdigest():
            # The server names the object by what it got.
            return
    head = remote.head(name)
    if head is None or head["ContentLength"] != size:
        stored = "nothing" if head is None else f"{head['ContentLength']} bytes"
        raise RemoteError(f"{remote.url} holds {stored} of {name} after {size} bytes were pushed")


def _upload_parts(remote: Bucket, name: str, path: Path, size: int, md5: str | None) -> None:
    """Send a big file as a multipart upload, which is aborted when anything goes wrong."""
    token = secrets.token_hex(16)
    marks = {"writer": token, **({"md5": md5} if md5 else {})}
    begun = remote.ask(
        "write", name, "create_multipart_upload", Metadata=marks, **remote.encryption()
    )
    this = {"UploadId": begun["UploadId"]}
    try:
        parts, found = _send_parts(remote, name, path, size, this)
        if md5 is not None and found != md5:
            raise damaged_file(path, md5, found)
        listed = {"Parts": parts}
        try:
            remote.ask("write", name, "complete_multipart_upload", MultipartUpload=listed, **this)
        except UploadGoneError as error:
            # An answer that was lost is asked for again, and the upload is gone: it is complete.
            head = remote.head(name)
            if head is None or head["Metadata"].get("writer") != token:
                raise RemoteError(
                    f"the upload of {name} to {remote.url} was aborted from elsewhere; run again"
                ) from error
    except BaseException:
        _abort(remote, name, this)
        raise


def _send_parts(
    remote: Bucket, name: str, path: Path, size: int, this: dict[str, str]
) -> tuple[list[dict[str, Any]], str]:
    """Send the parts, a few at once; returns their tags, and the MD5 of all that was read."""
    length = max(PART_BYTES, -(-size // _MOST_PARTS))
    whole = hashlib.md5(usedforsecurity=False)
    room = threading.Semaphore(_AT_ONCE)
    sent: list[Future[dict[str, Any]]] = []

    def send(number: int, data: bytes) -> dict[str, Any]:
        check = _base64(hashlib.md5(data, usedforsecurity=False).digest())
        values = {"PartNumber": number, "Body": data, "ContentMD5": check, **this}
        answer = remote.ask("write", name, "upload_part", **values)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    total = 0
    with open(path, "rb") as file, ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            room.acquire()
            data = file.read(length)
            if not data or any(each.done() and each.exception() for each in sent):
                break
            total += len(data)
            sent.append(pool.submit(send, len(sent) + 1, data))
            sent[-1].add_done_callback(lambda _: room.release())
            whole.update(data)
        parts = [each.result() for each in sent]
    if total != size:
        raise RemoteError(f"{path} changed while it was being pushed; let its writer finish first")
    return parts, whole.hexdigest()


def _abort(remote: Bucket, name: str, this: dict[str, str]) -> None:
    """Drop an unfinished upload; if that fails too, `sweep` finds it later."""
    where = {"Bucket": remote.bucket, "Key": remote.prefix + name}
    try:
        remote.client.abort_multipart_upload(**where, **this)
    except Exception:
        return


def abort_old(remote: Bucket, older_than: float) -> int:
    """Abort multipart uploads that began longer ago than `older_than` seconds; returns how many."""
    count = 0
    values: dict[str, Any] = {"Bucket": remote.bucket, "Prefix": remote.prefix}
    while True:
        listing = partial(remote.client.list_multipart_uploads, **values)
        page = remote.call("list uploads below", remote.prefix, listing)
        now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
        for found in page.get("Uploads", []):
            begun = found["Initiated"]
            if (now - begun.astimezone(UTC)).total_seconds() >= older_than:
                name = found["Key"].removeprefix(remote.prefix)
                try:
                    remote.ask("abort", name, "abort_multipart_upload", UploadId=found["UploadId"])
                except (UploadGoneError, NotThereError):
                    continue
                count += 1
        if not page.get("IsTruncated"):
            return count
        values["KeyMarker"] = page["NextKeyMarker"]
        values["UploadIdMarker"] = page["NextUploadIdMarker"]


def read(remote: Bucket, name: str, *, check: bool = True) -> Iterator[bytes]:
    """Yield an object in pieces; a big one is asked for in several pieces at once.

    Args:
        remote: where from.
        name: the object.
        check: compare with the MD5 that the object carries or is named by, where it has one.

    Yields:
        Pieces in order. The last comes before a check can fail: keep nothing until the end.

    Raises:
        NotThereError: there is no such object.
        DamagedError: it is not what it was.
        RemoteError: it changed meanwhile.
    """
    facts: dict[str, Any] = {}
    digest = hashlib.md5(usedforsecurity=False)
    for piece in _pieces(remote, name, facts):
        if check:
            digest.update(piece)
        yield piece
    known = _known_md5(facts)
    if check and known and digest.hexdigest() != known:
        raise DamagedError(
            f"{name} on {remote.url} is damaged: its MD5 is {digest.hexdigest()} and should be"
            f" {known}"
        )


def _pieces(remote: Bucket, name: str, facts: dict[str, Any]) -> Iterator[bytes]:
    """Yield an object's pieces, and put what the server says of it into `facts`."""
    where = {"Bucket": remote.bucket, "Key": remote.prefix + name}

    def ask(**values: str) -> bytes:
        answer = remote.client.get_object(**where, **values)
        first = not values
        if first:
            facts.clear()
            facts.update(answer)
        with answer["Body"] as body:
            # A big object's beginning tells its size; the rest of this answer is not waited for.
            data = bytes(body.read(PART_BYTES if first else None))
        if len(data) != (
            min(PART_BYTES, answer["ContentLength"]) if first else answer["ContentLength"]
        ):
            raise ConnectionError(f"only {len(data)} bytes of a piece of {name} came")
        return data

    def go_on(start: int) -> bytes:
        values = {"Range": f"bytes={start}-{start + PART_BYTES - 1}", "IfMatch": facts["ETag"]}
        return remote.call("read", name, lambda: ask(**values))

    yield remote.call("read", name, ask)
    starts = iter(range(PART_BYTES, facts["ContentLength"], PART_BYTES))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        coming = deque(pool.submit(go_on, start) for start in islice(starts, _AT_ONCE))
        try:
            while coming:
                piece = coming.popleft().result()
                coming.extend(pool.submit(go_on, start) for start in islice(starts, 1))
                yield piece
        except RefusedError as error:
            raise RemoteError(
                f"{name} on {remote.url} was replaced while it was being read; run again"
            ) from error
        finally:
            for each in coming:
                each.cancel()


def _known_md5(answer: Any) -> str | None:
    """Return the MD5 that an object should have: what its writer noted, or a plain ETag."""
    if noted := answer["Metadata"].get("md5"):
        return str(noted)
    tag = str(answer["ETag"]).strip('"')
    encrypted = answer.get("ServerSideEncryption") == "aws:kms" or "SSECustomerAlgorithm" in answer
    return tag if len(tag) == 32 and not encrypted else None


def _base64(digest: bytes) -> str:
    """Return a digest as HTTP headers carry it."""
    return base64.b64encode(digest).decode()
