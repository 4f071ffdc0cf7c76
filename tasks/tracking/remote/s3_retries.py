"""What an object store's refusals mean: wait, tell the user, or go another way."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import RemoteError

_log = logging.getLogger("sparring.tracking")
_T = TypeVar("_T")

PATIENCE = "SPARRING_REMOTE_PATIENCE"
"""The environment variable with the seconds of outage to wait out; ten minutes by default."""

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


class Caller:
    """Carries out requests to one bucket, waiting faults out and naming what does not pass.

    Args:
        bucket: its name, for the sentences.
        endpoint: where it is, for the sentences.
    """

    def __init__(self, bucket: str, endpoint: str) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        self._reached = False

    def call(self, action: str, name: str, request: Callable[[], _T]) -> _T:
        """Return what `request` returns, asked again with growing pauses while faults may pass.

        A server that never answered this process gets less time: its address may be wrong.

        Args:
            action: a verb for the sentences, such as "write".
            name: the object.
            request: sends it; must be safe to repeat.

        Raises:
            ConfigError: the bucket, the address, the credentials or the rights are wrong.
            RemoteError: the fault did not pass, or is of no known kind.
            NotThereError: no such object. RefusedError, NotSupportedError and UploadGoneError
                likewise for what their names say.
        """
        failing_since, pause = None, _FIRST_PAUSE
        while True:
            try:
                answer = request()
            except (ConfigError, RemoteError):
                raise
            except Exception as error:
                known = self._judge(action, name, error)
                if known is error:
                    raise
                if known is not None:
                    raise known from error
                now = time.monotonic()
                failing_since = failing_since or now
                limit = patience() if self._reached else min(patience(), _STRANGER_SECONDS)
                if now - failing_since + pause > limit:
                    raise self._lasting(action, name, error, limit) from error
                _log.warning("cannot %s %s in %s yet: %s", action, name, self._bucket, error)
                # Many workers that failed together must not come back together.
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._reached = True
                return answer

    def _lasting(self, action: str, name: str, error: Exception, waited: float) -> Exception:
        """Say that a fault did not pass."""
        if not self._reached:
            return ConfigError(
                f"the object store {self._endpoint} does not answer ({error}): check"
                " AWS_ENDPOINT_URL and that the server runs"
            )
        return RemoteError(
            f"cannot {action} {name} in bucket {self._bucket}: {error}. It did not pass in"
            f" {waited:.0f} s ({PATIENCE}); run again when the object store is well"
        )

    def _judge(self, action: str, name: str, error: Exception) -> Exception | None:
        """Return what an error of botocore means; None when it may pass."""
        from botocore import exceptions as found

        if isinstance(error, found.NoCredentialsError | found.PartialCredentialsError):
            return ConfigError(
                f"no credentials for bucket {self._bucket}: set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        if isinstance(error, found.SSLError):
            return ConfigError(
                f"{self._endpoint} does not speak TLS as expected ({error}): check AWS_ENDPOINT_URL"
            )
        if isinstance(error, found.ClientError):
            self._reached = True
            return self._judge_answer(action, name, error.response)
        passing = (found.HTTPClientError, found.ConnectionError, found.IncompleteReadError)
        if isinstance(error, (*passing, ConnectionError, TimeoutError)):
            return None
        if isinstance(error, found.BotoCoreError):
            return ConfigError(f"boto3 cannot {action} {name} in bucket {self._bucket}: {error}")
        return error

    def _judge_answer(self, action: str, name: str, answer: Any) -> Exception | None:
        """Return what an error that the server sent means; None when it may pass."""
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        known: dict[str, Exception] = {
            "NoSuchKey": NotThereError(name),
            "404": NotThereError(name),
            "PreconditionFailed": RefusedError(name),
            "412": RefusedError(name),
            "NotImplemented": NotSupportedError(action),
            "501": NotSupportedError(action),
            "NoSuchUpload": UploadGoneError(name),
            "NoSuchBucket": ConfigError(
                f"there is no bucket {self._bucket} at {self._endpoint}, or not for this user: make"
                " it, or correct SPARRING_REMOTE"
            ),
            "RequestTimeTooSkewed": ConfigError("this machine's clock is wrong: set it (NTP)"),
        }
        if code in known:
            return known[code]
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
        if code in _PASSING or status >= 500 or status == 429:
            return None
        message = answer.get("Error", {}).get("Message", "")
        return RemoteError(
            f"cannot {action} {name} in bucket {self._bucket}: {code or status} {message}".strip()
        )
