"""What is made of faults that our test server does not give, and how long they are waited out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from s3transfer.exceptions import RetriesExceededError

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.s3_retries import (
    QUICK_ATTEMPTS,
    NotThereError,
    RefusedError,
    Retries,
)


def _answer(code: str, status: int = 400) -> dict[str, Any]:
    return {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def _pause(
    retries: Retries, fault: Exception | dict[str, Any], context: dict[str, Any], attempts: int = 9
) -> float | None:
    """Ask as botocore's loop does."""
    failed = isinstance(fault, Exception)
    status = 0 if isinstance(fault, Exception) else fault["ResponseMetadata"]["HTTPStatusCode"]
    return retries.pause(
        response=None if failed else (SimpleNamespace(status_code=status), fault),
        caught_exception=fault if isinstance(fault, Exception) else None,
        operation=SimpleNamespace(name="PutObject"), attempts=attempts,
        request_dict={"context": context, "url_path": "/bucket/x"},
    )  # fmt: skip


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
    retries = Retries("b", "https://s3")
    assert _pause(retries, _answer(code), {}) is None
    with pytest.raises(kind, match=words), retries.naming("write", "x"):
        raise ClientError(_answer(code), "PutObject")


def test_a_wrong_certificate_and_a_body_that_never_comes_are_said() -> None:
    retries = Retries("b", "https://s3")
    broken = SSLError(endpoint_url="https://s3", error="self-signed")
    assert _pause(retries, broken, {}) is None
    with pytest.raises(ConfigError, match="does not speak TLS"), retries.naming("read", "x"):
        raise broken
    _pause(retries, _answer("", 200), {})
    with pytest.raises(RemoteError, match="cannot read x"), retries.naming("read", "x"):
        raise RetriesExceededError(ReadTimeoutError(endpoint_url="https://s3"))


def test_a_full_disk_here_is_no_fault_of_the_store() -> None:
    full = OSError(errno.ENOSPC, "no space")
    with pytest.raises(OSError, match="no space"), Retries("b", "https://s3").naming("read", "x"):
        raise full


@pytest.mark.parametrize(
    "fault",
    [
        _answer("SlowDown", 503),
        _answer("", 502),
        _answer("OperationAborted", 409),
        EndpointConnectionError(endpoint_url="x"),
        ConnectionResetError(),
    ],
)
def test_faults_are_waited_out_as_long_as_the_user_says(
    fault: Exception | dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("tasks.tracking.remote.s3_retries.time", clock)
    retries, context = Retries("b", "https://s3"), dict[str, Any]()
    assert _pause(retries, _answer("", 200), context) is None
    pauses = [_pause(retries, fault, context, attempts) or 0.0 for attempts in range(1, 30)]
    assert 0 < pauses[0] < 1 < pauses[9] and max(pauses) <= 20
    now[0] += 579
    assert _pause(retries, fault, context) is not None
    now[0] += 2
    assert _pause(retries, fault, context) is None
    assert _pause(retries, fault, {}) is not None, "another request has a patience of its own"
    monkeypatch.setenv("SPARRING_REMOTE_PATIENCE", "0")
    assert _pause(retries, fault, {}) is None


def test_a_server_that_never_answered_gets_less_time() -> None:
    retries, context = Retries("b", "https://s3"), {"sparring_failing_since": 0.0}
    assert _pause(retries, ConnectionResetError(), context) is None
    with pytest.raises(ConfigError, match="does not answer"), retries.naming("read", "x"):
        raise ConnectionResetError


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
def test_botocore_alone_gives_up(nobody: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many attempts it may make: its quota ends them, for every later request at once."""
    pauses: list[float] = []
    # The modules' own clocks: threads that other tests left behind sleep on the real one.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=pauses.append))

    def client(attempts: int) -> Any:
        return boto3.client(
            "s3", endpoint_url=nobody, region_name="us-east-1", aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"mode": mode, "total_max_attempts": attempts}),
        )  # fmt: skip

    alone = client(10_000)
    for _ in range(2):
        with pytest.raises(EndpointConnectionError):
            alone.head_object(Bucket="bucket", Key="x")
    assert len(pauses) <= 100, "the second request is not asked again at all"
    pauses.clear()
    patient, retries = client(QUICK_ATTEMPTS), Retries("bucket", nobody)
    clock = SimpleNamespace(monotonic=lambda: 100.0 + sum(pauses))
    monkeypatch.setattr("tasks.tracking.remote.s3_retries.time", clock)
    patient.meta.events.register_last("needs-retry.s3", retries.pause)
    _pause(retries, _answer("", 200), {})
    for _ in range(3):
        before = sum(pauses)
        with pytest.raises(EndpointConnectionError):
            patient.head_object(Bucket="bucket", Key="x")
        assert 560 < sum(pauses) - before <= 600
