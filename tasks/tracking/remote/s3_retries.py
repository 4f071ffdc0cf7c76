"""What an object store's refusals mean: wait, tell the user, or go another way.

Requests are repeated by botocore's own loop. Its `standard` mode counts attempts, and takes each
from a quota that all requests of a client share: an outage ends them after seconds, and soonest
where many workers ask (`test_botocore_alone_gives_up` in tests/tasks/tracking/remote). So `Retries`
is asked by that loop too, and lets it go on for `SPARRING_REMOTE_PATIENCE` seconds.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import RemoteError

_log = logging.getLogger("sparring.tracking")

PATIENCE = "SPARRING_REMOTE_PATIENCE"
"""The environment variable with the seconds of outage to wait out; ten minutes by default."""

QUICK_ATTEMPTS = 4
"""How often botocore's `standard` mode asks before ours decides; these are not worth a warning."""

_PATIENCE_SECONDS = 600.0
_STRANGER_SECONDS = 20.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 20.0

_PASSING = set(
    "SlowDown ServiceUnavailable InternalError RequestTimeout Throttling ThrottlingException"
    " RequestLimitExceeded OperationAborted ConditionalRequestConflict BadDigest IncompleteBody"
    " 409 429 500 502 503 504".split()
)
_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_DENIED = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem"}
_ELSEWHERE = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraint",
    "301",
}


class NotThereError(Exception):
    """There is no such object."""


class RefusedError(Exception):
    """The condition of a write did not hold: somebody wrote before."""


class NotSupportedError(Exception):
    """The server does not know this operation."""


class UploadGoneError(Exception):
    """There is no such multipart upload; a completed one is gone too."""


_GO_ANOTHER_WAY: dict[str, type[Exception]] = {
    "NoSuchKey": NotThereError,
    "404": NotThereError,
    "PreconditionFailed": RefusedError,
    "412": RefusedError,
    "NotImplemented": NotSupportedError,
    "501": NotSupportedError,
    "NoSuchUpload": UploadGoneError,
}


def patience() -> float:
    """Return how many seconds of outage are waited out; raises `ConfigError` for no number."""
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text) if text else _PATIENCE_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{PATIENCE} is {text!r}: give seconds, such as 600")
    return seconds


class Retries:
    """Waits out what passes, and names what does not, for the requests of one client."""

    def __init__(self, bucket: str, endpoint: str) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        self._reached = False

    def pause(
        self,
        *,
        response: tuple[Any, Any] | None,
        caught_exception: Exception | None,
        operation: Any,
        attempts: int,
        request_dict: dict[str, Any],
        **_: Any,
    ) -> float | None:
        """Answer botocore's event `needs-retry`: seconds to wait before another try, None to end.

        Where botocore's `standard` mode answers too, its pause counts.
        """
        from botocore.exceptions import ClientError

        error = caught_exception
        if response is not None:
            self._reached = True
            if response[0].status_code < 300:
                return None
            error = ClientError(response[1], operation.name)
        # What an abort leaves, `sweep` finds later.
        if error is None or operation.name == "AbortMultipartUpload" or not _may_pass(error):
            return None
        now = time.monotonic()
        failing_since = request_dict["context"].setdefault("sparring_failing_since", now)
        pause = min(_FIRST_PAUSE * 2.0 ** min(attempts - 1, 20), _LONGEST_PAUSE)
        if now - failing_since + pause > self._limit:
            return None
        if attempts >= QUICK_ATTEMPTS:
            where = request_dict["url_path"]
            _log.warning("%s of %s does not succeed yet: %s", operation.name, where, error)
        # Many workers that failed together must not come back together.
        return pause * random.uniform(0.5, 1.0)

    @contextmanager
    def naming(self, action: str, name: str) -> Iterator[None]:
        """Turn errors of botocore and s3transfer into ours; the action is a verb, such as "write".

        Raises:
            ConfigError: The bucket, the address, the credentials or the rights are wrong.
            RemoteError: The fault did not pass, or is of no known kind.
            NotThereError: There is no such object. RefusedError, NotSupportedError and
                UploadGoneError are likewise raised for what their names say.
        """
        try:
            yield
        except Exception as error:
            named = self._name(action, name, error)
            if named is error:
                raise
            raise named from error

    @property
    def _limit(self) -> float:
        """The seconds to wait; fewer for a server that never answered: its address may be wrong."""
        return patience() if self._reached else min(patience(), _STRANGER_SECONDS)

    def _name(self, action: str, name: str, error: Exception) -> Exception:
        """Return what an error means to whoever asked; the same error if it is not of the store."""
        from botocore import exceptions as found
        from s3transfer import exceptions as transfer

        if isinstance(error, found.NoCredentialsError | found.PartialCredentialsError):
            return ConfigError(
                f"no credentials for bucket {self._bucket}: set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        if isinstance(error, found.SSLError):
            return ConfigError(
                f"{self._endpoint} does not speak TLS as expected ({error}): check AWS_ENDPOINT_URL"
            )
        if isinstance(error, transfer.S3DownloadFailedError):
            return RemoteError(
                f"{name} in bucket {self._bucket} was replaced while it was being read; run again"
            )
        if _may_pass(error) or isinstance(error, transfer.RetriesExceededError):
            return self._name_lasting(action, name, error)
        if isinstance(error, found.ClientError):
            return self._name_answer(action, name, error.response)
        if isinstance(error, found.BotoCoreError | transfer.S3ValidationError):
            return ConfigError(f"boto3 cannot {action} {name} in bucket {self._bucket}: {error}")
        return error

    def _name_lasting(self, action: str, name: str, error: Exception) -> Exception:
        """Say that a fault did not pass."""
        if not self._reached:
            return ConfigError(
                f"the object store {self._endpoint} does not answer ({error}): check"
                " AWS_ENDPOINT_URL and that the server runs"
            )
        return RemoteError(
            f"cannot {action} {name} in bucket {self._bucket}: {error}. It did not pass in"
            f" {self._limit:.0f} s ({PATIENCE}); run again when the object store is well"
        )

    def _name_answer(self, action: str, name: str, answer: Any) -> Exception:
        """Say what an error that the server sent means."""
        code = str(answer.get("Error", {}).get("Code", ""))
        if code in _GO_ANOTHER_WAY:
            return _GO_ANOTHER_WAY[code](name)
        if code == "NoSuchBucket":
            return ConfigError(
                f"there is no bucket {self._bucket} at {self._endpoint}, or not for this user: make"
                " it, or correct SPARRING_REMOTE"
            )
        if code == "RequestTimeTooSkewed":
            return ConfigError("this machine's clock is wrong: set it (NTP)")
        if code in _CREDENTIALS:
            return ConfigError(
                f"{self._endpoint} does not accept the credentials ({code}): check"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if code in _DENIED:
            return ConfigError(
                f"not allowed to {action} {name} in bucket {self._bucket} ({code}); the bucket may"
                " be read-only for this user: give the user the right to"
            )
        if code in _ELSEWHERE:
            return ConfigError(
                f"bucket {self._bucket} is in another region ({code}): set AWS_DEFAULT_REGION"
            )
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = answer.get("Error", {}).get("Message", "")
        return RemoteError(
            f"cannot {action} {name} in bucket {self._bucket}: {code or status} {message}".strip()
        )


def _may_pass(error: Exception) -> bool:
    """Whether a fault may be over at the next try."""
    from botocore import exceptions as found

    if isinstance(error, found.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _GO_ANOTHER_WAY:
            return False
        return code in _PASSING or status >= 500 or status == 429
    passing = (found.HTTPClientError, found.ConnectionError, found.IncompleteReadError)
    return isinstance(error, (*passing, ConnectionError, TimeoutError)) and not isinstance(
        error, found.SSLError
    )
