"""The remote on a real S3 server: OpenStack swift 2.30, started by `object_store`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.tracking.remote import s3_retries, s3_transfer
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.s3 import S3Remote
from tests.servers.swift import SwiftServer, swift_server


@pytest.fixture
def remote(s3: SwiftServer) -> S3Remote:
    return S3Remote(s3.bucket(), "team/one")


def _parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part 5 MB, the least that S3 takes."""
    monkeypatch.setattr(s3_transfer, "PART_BYTES", 5 * 1024 * 1024)


def _uploads(s3: SwiftServer, remote: S3Remote) -> list[Any]:
    return list(s3.client().list_multipart_uploads(Bucket=remote.bucket).get("Uploads", []))


def test_objects_come_back(remote: S3Remote) -> None:
    assert remote.get("a/b") is None and remote.age("a/b") is None and remote.names("") == []
    assert remote.size("a/b") is None and remote.content("a/b") is None
    remote.put("a/b", b"one")
    remote.put("a/b", b"two")
    remote.put("a/c/d", b"")
    remote.put("ab", b"x")
    assert remote.get("a/b") == b"two" and remote.get("a/c/d") == b"" and remote.size("a/b") == 3
    assert remote.names("a") == ["a/b", "a/c/d", "ab"] and remote.names("a/") == ["a/b", "a/c/d"]
    assert remote.sizes("a/") == {"a/b": 3, "a/c/d": 0}
    remote.delete("a/b")
    remote.delete("a/b")
    assert remote.names("a/") == ["a/c/d"]
    assert S3Remote(remote.bucket).names("") == ["team/one/a/c/d", "team/one/ab"]


def test_listings_longer_than_a_page(remote: S3Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.tracking.remote.s3._PAGE", 3)
    names = [f"n/{number}" for number in range(8)]
    for name in names:
        remote.put(name, b"")
    assert remote.names("n/") == names


def test_age_is_told_by_the_servers_clock(
    remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put("beat", b"")
    time.sleep(2.1)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    age = remote.age("beat")
    assert age is not None and 1 <= age < 60


@pytest.mark.parametrize("conditional", [1, 0])
def test_exactly_one_of_many_puts_if_absent(
    s3: SwiftServer, remote: S3Remote, conditional: int
) -> None:
    s3.switch(conditional=conditional)
    with ThreadPoolExecutor(10) as pool:
        for turn in range(5 if conditional else 2):
            name = f"leases/{turn}/000001.json"
            won = list(pool.map(lambda i, n=name: remote.put_if_absent(n, b"%d" % i), range(10)))
            assert won.count(True) == 1
            assert remote.get(name) == b"%d" % won.index(True)
            assert not remote.put_if_absent(name, b"late")
    assert remote.all_names(".claims/") == []


_CLAIM = """
import sys, time
from tasks.tracking.remote.s3 import S3Remote
remote = S3Remote(sys.argv[1], "team/one")
remote.names("")
time.sleep(max(0, float(sys.argv[2]) - time.time()))
print(remote.put_if_absent("lease", sys.argv[3].encode()))
"""


@pytest.mark.parametrize("conditional", [1, 0])
def test_exactly_one_of_many_processes(s3: SwiftServer, remote: S3Remote, conditional: int) -> None:
    s3.switch(conditional=conditional)
    at = str(time.time() + 6)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIM, remote.bucket, at, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    answers = [child.communicate(timeout=120)[0].strip() for child in children]
    assert sorted(answers) == ["False"] * 5 + ["True"]
    assert remote.get("lease") == str(answers.index("True")).encode()


def test_a_claim_of_the_dead_is_carried_out(
    s3: SwiftServer, remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.switch()
    monkeypatch.setattr("tasks.tracking.remote.s3_claims._DEAD_SECONDS", 0.5)
    remote.signed_put(".claims/lease/dead", b"theirs", "dead")
    assert not remote.put_if_absent("lease", b"mine")
    assert remote.get("lease") == b"theirs" and remote.all_names(".claims/") == []


def test_a_fifth_of_the_answers_failing_loses_nothing(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _parts(monkeypatch)
    big = tmp_path / "big"
    big.write_bytes(os.urandom(12_000_000))
    s3.switch(conditional=1, fault_percent=20)
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


def test_an_outage_is_waited_out(s3: SwiftServer, remote: S3Remote) -> None:
    remote.put("x", b"before")
    s3.stop()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(remote.get, "x")
        time.sleep(3)
        assert not answer.done()
        s3.start()
        assert answer.result(timeout=60) == b"before"


def test_an_outage_that_lasts_is_said(
    s3: SwiftServer, remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put("x", b"")
    monkeypatch.setenv("SPARRING_REMOTE_PATIENCE", "2")
    s3.stop()
    try:
        with pytest.raises(RemoteError, match=f"cannot read x in bucket {remote.bucket}.*2 s"):
            remote.get("x")
        with pytest.raises(ConfigError, match="does not answer .* AWS_ENDPOINT_URL"):
            S3Remote(remote.bucket).get("x")
    finally:
        s3.start()
    monkeypatch.setenv("SPARRING_REMOTE_PATIENCE", "soon")
    with pytest.raises(ConfigError, match="give seconds"):
        s3_retries.patience()


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
s3_transfer._base64 = lambda digest, old=s3_transfer._base64, seen=[]: (
    seen.append(1), len(seen) > 2 and os.kill(os.getpid(), 9), old(digest))[-1]
remote.upload("big", Path(sys.argv[2]))
"""


def test_a_killed_upload_is_invisible_and_swept(
    s3: SwiftServer, remote: S3Remote, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(16_000_000))
    child = subprocess.run([sys.executable, "-c", _DIE, remote.bucket, str(big)])
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
    s3.client().put_object(
        Bucket=remote.bucket,
        Key="team/one/x",
        Body=b"gooe",
        Metadata=remote.head("x")["Metadata"],
    )
    with pytest.raises(RemoteError, match="x on s3://.* is damaged: its MD5"):
        remote.download("x", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_what_the_user_must_mend_is_said(s3: SwiftServer, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket()

    def sentence(expected: str, name: str = bucket, **environment: str) -> None:
        with monkeypatch.context() as here:
            for key, value in environment.items():
                here.setenv(key, value) if value else here.delenv(key)
            remote = S3Remote(name)
            with pytest.raises(ConfigError, match=expected):
                remote.put("x", b"")

    sentence("there is no bucket not-there at http", "not-there")
    sentence("no credentials for bucket", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    sentence("does not accept the credentials", AWS_SECRET_ACCESS_KEY="wrong")
    sentence("boto3 cannot be set up", AWS_ENDPOINT_URL="nowhere")
    sentence("not allowed to write x .*read-only", AWS_ACCESS_KEY_ID=s3.reader_key)


def test_findings(
    object_store: SwiftServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with swift_server(tmp_path / "swift", access_lists=True) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = server.bucket()

        def states(name: str = bucket) -> dict[str, str]:
            return {found.subject: found.state for found in S3Remote(name, "team").findings()}

        expected = {"reachable": "ok", "writable": "ok", "encrypted": "unknown"}
        assert states() == {**expected, "not public": "ok", "versioned": "bad"}
        versioning = {"Status": "Enabled"}
        server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
        server.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
        assert states() == {**expected, "not public": "bad", "versioned": "ok"}
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.reader_key)
        assert states()["writable"] == "bad"
        assert states("not-there") == {"reachable": "bad"}
