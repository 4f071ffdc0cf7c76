"""The example policies of `infra/s3`: what their users do on a real store, and no more."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tasks.settings.errors import ConfigError
from tasks.tracking.remote import s3_transfer
from tasks.tracking.remote.s3 import S3Remote
from tests.servers.swift import SwiftServer

FOLDER = Path("infra/s3")
# By Amazon's "Actions, resources, and condition keys for Amazon S3"; others are called like this.
ACTIONS = {
    "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
}


class Guard:
    """Refuses, before it is sent, what a policy does not allow, and keeps what was done by it."""

    def __init__(self, policy: str, remote: S3Remote) -> None:
        text = (FOLDER / policy).read_text("utf-8")
        bucket = remote.bucket.name
        text = text.replace("BUCKET", bucket).replace("PREFIX", remote.bucket.prefix.strip("/"))
        self.statements = json.loads(text)["Statement"]
        self.used: set[str] = set()
        self.denied: set[str] = set()
        remote.bucket.client.meta.events.register_first("before-call.s3", self._check)

    @property
    def allowed(self) -> set[str]:
        """Every action of the policy."""
        return {action for one in self.statements for action in one["Action"]}

    def _check(self, model: Any, params: dict[str, Any], **_: Any) -> Any:
        assert not any("acl" in name.lower() for name in params["headers"]), "the bucket decides"
        action = f"s3:{ACTIONS.get(model.name, model.name)}"
        resource = f"arn:aws:s3:::{urlsplit(params['url']).path.strip('/')}"
        for one in self.statements:
            if action in one["Action"] and fnmatchcase(resource, one["Resource"]):
                self.used.add(action)
                return None
        self.denied.add(action)
        facts = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        return SimpleNamespace(status_code=403, headers={}), facts


@pytest.fixture
def bucket(s3: SwiftServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, into which a file goes in several parts."""
    monkeypatch.setattr(s3_transfer, "PART_BYTES", 5 << 20)
    return s3.bucket()


def test_a_writer_may_do_all_that_we_do(bucket: str, tmp_path: Path) -> None:
    remote = S3Remote(bucket, "team/one")
    guard = Guard("writer.json", remote)
    (tmp_path / "file").write_bytes(b"x" * (11 << 20))
    remote.upload("file", tmp_path / "file")
    assert remote.put_if_absent("lease", b"1") and not remote.put_if_absent("lease", b"2")
    remote.put("record", b"r")
    remote.download("file", tmp_path / "back")
    remote.delete("record")
    left = remote.bucket.ask("begin", "cut", "create_multipart_upload")
    assert left["UploadId"] and remote.sweep(older_than=-60.0) == 1
    assert {one.subject: one.state for one in remote.findings()}["writable"] == "ok"
    assert (guard.used, guard.denied) == (guard.allowed, set())


def test_a_reader_may_read_and_no_more(bucket: str, tmp_path: Path) -> None:
    S3Remote(bucket, "team/one").put("record", b"r")
    S3Remote(bucket, "other").put("record", b"o")
    remote = S3Remote(bucket, "team/one")
    guard = Guard("reader.json", remote)
    assert remote.get("record") == b"r" and remote.names("") == ["record"]
    remote.download("record", tmp_path / "record")
    assert remote.content("record") and remote.size("record") == 1
    assert remote.age("record") is not None
    states = {one.subject: one.state for one in remote.findings()}
    assert guard.denied == {"s3:PutObject"} and guard.used == guard.allowed
    assert (states["reachable"], states["writable"]) == ("ok", "bad")
    with pytest.raises(ConfigError, match="may be read-only for this user"):
        remote.put("record", b"mine")
    with pytest.raises(ConfigError, match="not allowed to read"):
        remote.bucket.prefix = "other/"
        remote.get("record")
