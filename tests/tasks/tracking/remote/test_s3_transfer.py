"""Files of any size on a real S3 server: OpenStack swift 2.30, started by `object_store`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.tracking.remote import s3_transfer
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.s3 import S3Remote
from tests.servers.swift import SwiftServer


def _parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part 5 MB, the least that S3 takes."""
    monkeypatch.setattr(s3_transfer, "PART_BYTES", 5 * 1024 * 1024)


def _uploads(s3: SwiftServer, remote: S3Remote) -> list[Any]:
    return list(s3.client().list_multipart_uploads(Bucket=remote.bucket.name).get("Uploads", []))


def test_a_fifth_of_the_answers_failing_loses_nothing(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _parts(monkeypatch)
    big = tmp_path / "big"
    big.write_bytes(os.urandom(12_000_000))
    s3.switch(fault_percent=20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: remote.put(f"p/{i:02}", b"%d" % i), range(40)))
        won = list(pool.map(lambda i: remote.put_if_absent(f"q/{i % 20:02}", b"%d" % i), range(40)))
    for turn in range(3):
        remote.upload(f"big/{turn}", big)
        remote.download(f"big/{turn}", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert remote.names("p/") == [f"p/{i:02}" for i in range(40)]
    assert [remote.get(f"p/{i:02}") for i in range(40)] == [b"%d" % i for i in range(40)]
    assert won.count(True) == 20
    for number in range(20):
        winner = number if won[number] else number + 20
        assert won[winner] and remote.get(f"q/{number:02}") == b"%d" % winner


@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * 1024, 12_000_000])
def test_files_travel_whole(
    remote: S3Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    _parts(monkeypatch)
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.write_bytes(os.urandom(size))
    from tasks.storage.digests import digest_file

    known = digest_file(source)
    remote.upload("store/x", source, md5=known.md5)
    remote.download("store/x", target)
    assert target.read_bytes() == source.read_bytes() and remote.size("store/x") == size
    found = remote.content("store/x")
    assert found and (found.size, found.md5, found.sha256) == (size, known.md5, known.sha256)
    with pytest.raises(RemoteError, match="holds no store/y"):
        remote.download("store/y", tmp_path / "none")
    with pytest.raises(RemoteError, match="is damaged"):
        remote.upload("store/z", source, md5="0" * 32)
    assert remote.names("") == ["store/x"] and not (tmp_path / "none").exists()


_DIE = """
import os, sys
from pathlib import Path
from tasks.tracking.remote import s3_transfer
from tasks.tracking.remote.s3 import S3Remote
s3_transfer.PART_BYTES = 5 * 1024 * 1024
remote = S3Remote(sys.argv[1], "team/one")
seen = []
def die_at_third(**_):
    seen.append(1)
    if len(seen) > 2:
        os.kill(os.getpid(), 9)
remote.bucket.client.meta.events.register("before-call.s3.UploadPart", die_at_third)
remote.upload("big", Path(sys.argv[2]))
"""


def test_a_killed_upload_is_invisible_and_swept(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(16_000_000))
    child = subprocess.run([sys.executable, "-c", _DIE, remote.bucket.name, str(big)])
    assert child.returncode == -9
    assert remote.names("") == [] and remote.get("big") is None
    assert len(_uploads(s3, remote)) == 1
    assert remote.sweep() == 0
    # The store rounds the beginning up to a whole second and its clock down.
    deadline = time.monotonic() + 30
    while remote.sweep(1) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert _uploads(s3, remote) == []


def test_an_upload_that_fails_is_aborted(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _parts(monkeypatch)
    big = tmp_path / "big"
    big.write_bytes(os.urandom(12_000_000))
    with pytest.raises(RemoteError, match="is damaged"):
        remote.upload("big", big, md5="0" * 32)
    assert _uploads(s3, remote) == [] and remote.names("") == []


def test_an_object_replaced_behind_our_back_is_no_mixture(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"good")
    remote.upload("x", source)
    head = remote.bucket.head("x")
    assert head is not None
    s3.client().put_object(
        Bucket=remote.bucket.name, Key="team/one/x", Body=b"gooe", Metadata=head["Metadata"]
    )
    with pytest.raises(RemoteError, match="x on s3://.* is damaged: its MD5"):
        remote.download("x", tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_body_that_breaks_off_is_read_again(
    s3: SwiftServer, remote: S3Remote, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """botocore asks again for an answer, not for the rest of one; s3transfer does."""
    from botocore.exceptions import IncompleteReadError
    from botocore.response import StreamingBody

    remote.put("x", b"before")
    whole = StreamingBody.read

    def break_off(self: Any, *amount: Any) -> bytes:
        monkeypatch.setattr(StreamingBody, "read", whole)
        if replaced:
            remote.put("x", b"after")
        raise IncompleteReadError(actual_bytes=1, expected_bytes=6)

    monkeypatch.setattr(StreamingBody, "read", break_off)
    if replaced:
        with pytest.raises(RemoteError, match="x in bucket .* was replaced while it was being"):
            remote.get("x")
    else:
        assert remote.get("x") == b"before"


def test_a_file_that_changes_while_it_is_pushed(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _parts(monkeypatch)
    path = tmp_path / "big"
    path.write_bytes(os.urandom(12_000_000))
    remote.put("first", b"")

    def shorten(**_: Any) -> None:
        os.truncate(path, 6_000_000)

    remote.bucket.client.meta.events.register("before-call.s3.CreateMultipartUpload", shorten)
    monkeypatch.setattr(s3_transfer, "_AT_ONCE", 1)
    with pytest.raises(RemoteError, match="changed while it was being pushed"):
        remote.upload("big", path)
    assert _uploads(s3, remote) == [] and remote.names("") == ["first"]
