"""The remote on a real S3 server: OpenStack swift 2.30, started by `object_store`."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.tracking.remote import s3_retries
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.s3 import S3Remote
from tests.servers.swift import SwiftServer, swift_server


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
    assert S3Remote(remote.bucket.name).names("") == ["team/one/a/c/d", "team/one/ab"]


def test_listings_longer_than_a_page(remote: S3Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.tracking.remote.s3_bucket._PAGE", 3)
    names = [f"n/{number}" for number in range(8)]
    for name in names:
        remote.put(name, b"")
    assert remote.names("n/") == names


def test_age_follows_the_servers_clock(remote: S3Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.put("beat", b"")
    time.sleep(2.1)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    age = remote.age("beat")
    assert age is not None and 1 <= age < 60


def test_exactly_one_of_many_puts_if_absent(remote: S3Remote) -> None:
    with ThreadPoolExecutor(10) as pool:
        for turn in range(5):
            name = f"leases/{turn}/000001.json"
            won = list(pool.map(lambda i, n=name: remote.put_if_absent(n, b"%d" % i), range(10)))
            assert won.count(True) == 1
            assert remote.get(name) == b"%d" % won.index(True)
            assert not remote.put_if_absent(name, b"late")


_CLAIM = """
import sys, time
from tasks.tracking.remote.s3 import S3Remote
remote = S3Remote(sys.argv[1], "team/one")
remote.names("")
time.sleep(max(0, float(sys.argv[2]) - time.time()))
print(remote.put_if_absent("lease", sys.argv[3].encode()))
"""


def test_exactly_one_of_many_processes(remote: S3Remote) -> None:
    at = str(time.time() + 6)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIM, remote.bucket.name, at, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    answers = [child.communicate(timeout=120)[0].strip() for child in children]
    assert sorted(answers) == ["False"] * 5 + ["True"]
    assert remote.get("lease") == str(answers.index("True")).encode()


def test_a_store_where_two_can_win_is_refused_before_anything_is_written(
    remote: S3Remote, tmp_path: Path
) -> None:
    """Without the header that we send, swift is a store that does not know it."""
    (tmp_path / "file").write_bytes(b"data")

    def ignore(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-None-Match", None)

    remote.bucket.client.meta.events.register("before-call.s3.PutObject", ignore)
    for write in (
        lambda: remote.put_if_absent("lease", b""),
        lambda: remote.put("record", b""),
        lambda: remote.upload("file", tmp_path / "file"),
    ):
        with pytest.raises(ConfigError, match=r"http://127.0.0.1:\d+ lets a name be written twice"):
            write()
    assert remote.sizes("") == {}
    states = {found.subject: (found.state, found.detail) for found in remote.findings()}
    state, detail = states["writable"]
    assert state == "bad" and "use a store that honours it" in detail


def test_a_server_checks_what_it_gets(
    s3: SwiftServer, remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swift refuses a body that is not what its MD5 says, and reads no CRC32 as botocore sends."""
    wrong = {"Bucket": remote.bucket.name, "Key": "x", "Body": b"body"}
    s3.client().put_object(**wrong, ChecksumCRC32="AAAAAA==")
    monkeypatch.setenv("SPARRING_REMOTE_PATIENCE", "0")
    remote.put("good", b"body")

    def damage(params: dict[str, Any], **_: Any) -> None:
        params["body"] = b"bode"

    remote.bucket.client.meta.events.register_last("before-call.s3.PutObject", damage)
    with pytest.raises(RemoteError, match="cannot write x .*BadDigest"):
        remote.put("x", b"body")
    assert remote.names("") == ["good"]


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
        with pytest.raises(RemoteError, match=f"cannot read x in bucket {remote.bucket.name}.*2 s"):
            remote.get("x")
        with pytest.raises(ConfigError, match="does not answer .* AWS_ENDPOINT_URL"):
            S3Remote(remote.bucket.name).get("x")
    finally:
        s3.start()
    monkeypatch.setenv("SPARRING_REMOTE_PATIENCE", "soon")
    with pytest.raises(ConfigError, match="give seconds"):
        s3_retries.patience()


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
    sentence("not allowed to write .*read-only", AWS_ACCESS_KEY_ID=s3.reader_key)


def test_findings(
    object_store: SwiftServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with swift_server(tmp_path / "swift", access_lists=True) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = server.bucket()

        def states(name: str = bucket) -> dict[str, str]:
            return {found.subject: found.state for found in S3Remote(name, "team").findings()}

        expected = {"reachable": "ok", "writable": "ok", "encrypted": "unknown", "tidied": "bad"}
        assert states() == {**expected, "not public": "ok", "versioned": "bad"}
        versioning = {"Status": "Enabled"}
        server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
        server.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
        assert states() == {**expected, "not public": "bad", "versioned": "ok"}
        with pytest.raises(ConfigError, match="is public: everybody has READ: .*PUBLIC_REMOTE=1"):
            S3Remote(bucket, "team").put("record", b"")
        monkeypatch.setenv("SPARRING_PUBLIC_REMOTE", "1")
        S3Remote(bucket, "team").put("record", b"")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.reader_key)
        assert states()["writable"] == "bad"
        assert states("not-there") == {"reachable": "bad"}
