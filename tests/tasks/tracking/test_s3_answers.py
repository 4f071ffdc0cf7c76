"""What we make of answers that our test server does not give: those of AWS, and broken ones."""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tasks.settings.errors import ConfigError
from tasks.tracking.remote import s3_checks
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.s3_retries import Caller, NotThereError, RefusedError

AES = {"SSEAlgorithm": "AES256"}
KMS = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key"}
ALL_BLOCKED = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


def _error(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")  # type: ignore[arg-type]


class _Bucket:
    """A remote whose client gives the settings it is made with, and errors for the others."""

    bucket, url = "bucket", "s3://bucket"

    def __init__(self, **settings: Any) -> None:
        def asked(name: str) -> Callable[..., Any]:
            def answer(**_: Any) -> Any:
                value = settings.get(name, {})
                if isinstance(value, str):
                    raise _error(value, 404)
                return value

            return answer

        operations = ("encryption", "acl", "versioning", "policy_status")
        names = ["list_objects_v2", "get_public_access_block"]
        names += [f"get_bucket_{name}" for name in operations]
        self.client = SimpleNamespace(**{name: asked(name) for name in names})
        self._caller = Caller("bucket", "https://s3")

    def call(self, action: str, name: str, request: Callable[[], Any]) -> Any:
        return self._caller.call(action, name, request)

    def put(self, name: str, data: bytes) -> None:
        pass

    def delete(self, name: str) -> None:
        pass


def _rule(rule: dict[str, str]) -> dict[str, Any]:
    rules = [{"ApplyServerSideEncryptionByDefault": rule}]
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _states(**settings: Any) -> dict[str, str]:
    return {found.subject: found.state for found in s3_checks.examine(_Bucket(**settings))}


def test_a_bucket_of_aws() -> None:
    states = _states(
        get_bucket_encryption=_rule(AES),
        get_public_access_block={"PublicAccessBlockConfiguration": ALL_BLOCKED},
        get_bucket_versioning={"Status": "Enabled"},
    )
    assert set(states.values()) == {"ok"} and len(states) == 5
    none = "ServerSideEncryptionConfigurationNotFoundError"
    public = {"PolicyStatus": {"IsPublic": True}}
    states = _states(get_bucket_encryption=none, get_bucket_policy_status=public)
    assert (states["encrypted"], states["not public"], states["versioned"]) == ("bad",) * 3
    states = _states(get_bucket_encryption="AccessDenied", get_bucket_acl="NotImplemented")
    assert (states["encrypted"], states["not public"]) == ("unknown", "unknown")


def test_a_write_says_the_encryption_that_the_bucket_wants() -> None:
    kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    for rule, expected in ((AES, {"ServerSideEncryption": "AES256"}), (KMS, kms), ({}, {})):
        bucket = _Bucket(get_bucket_encryption=_rule(rule))
        assert s3_checks.write_encryption(bucket) == expected
    assert s3_checks.write_encryption(_Bucket(get_bucket_encryption="AccessDenied")) == {}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("PermanentRedirect", ConfigError, "another region .* AWS_DEFAULT_REGION"),
        ("RequestTimeTooSkewed", ConfigError, "clock is wrong"),
        ("ExpiredToken", ConfigError, "does not accept the credentials"),
        ("AccessDenied", ConfigError, "not allowed to write x in bucket b"),
        ("QuotaExceeded", RemoteError, "cannot write x in bucket b: QuotaExceeded"),
        ("NoSuchKey", NotThereError, "x"),
        ("412", RefusedError, "x"),
    ],
)
def test_what_never_passes_is_said_at_once(code: str, kind: type[Exception], words: str) -> None:
    asked: list[int] = []

    def refuse() -> None:
        asked.append(1)
        raise _error(code)

    with pytest.raises(kind, match=words):
        Caller("b", "https://s3").call("write", "x", refuse)
    assert len(asked) == 1


def test_a_full_disk_here_is_no_fault_of_the_store() -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        Caller("b", "https://s3").call("read", "x", fail)


def test_faults_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tasks.tracking.remote.s3_retries.time.sleep", pauses.append)
    faults = [_error("SlowDown", 503), _error("", 502), _error("OperationAborted", 409)]
    faults += [EndpointConnectionError(endpoint_url="x"), ConnectionResetError()]  # type: ignore[list-item]

    def answer() -> str:
        if faults:
            raise faults.pop()
        return "well"

    assert Caller("b", "https://s3").call("read", "x", answer) == "well"
    assert len(pauses) == 5 and pauses[4] > pauses[0]
