"""One server with OpenAI's interface: a call of it, and the one layer of retries around a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from tasks.endpoints.answers import SHOWN, CallFailed, Outcome
from tasks.endpoints.config import PatienceConfig
from tasks.endpoints.limiter import CircuitBreaker, GivenUpError, Limiter
from tasks.settings.errors import BudgetExhausted, ConfigError, SparringError

if TYPE_CHECKING:
    import openai
    from tenacity import RetryCallState

_PASSING = (408, 409, 425, 429)
_GATEWAY = (408, 502, 504, 522, 524)
_LONGEST_RETRY_AFTER = 600.0
Result = TypeVar("Result")


class Connection(NamedTuple):
    """How a server is reached."""

    url: str
    """Where its interface begins, `https://api.openai.com/v1`."""
    key: str = ""
    """The key; empty for none."""
    is_local: bool = True
    """Whether it runs here, so that no proxy of the environment is asked for it."""
    connections: int = 16
    """Most calls at once."""


class EndpointClient:
    """Sends single requests; many threads may use it at once. It never tries again by itself."""

    def __init__(self, connection: Connection, patience: PatienceConfig) -> None:
        """Take an address; nothing is sent before the first call."""
        import httpx2
        import openai

        self._key, self._patience = connection.key, patience
        http = httpx2.Client(
            follow_redirects=False,  # the key would go with them
            trust_env=not connection.is_local,
            limits=httpx2.Limits(max_connections=connection.connections),
        )
        # Without a key the library would look for one in the environment, and refuse to go on.
        self._own_headers: dict[str, str | openai.Omit] = (
            {} if connection.key else {"Authorization": openai.Omit()}
        )
        self._openai = openai.OpenAI(
            api_key=connection.key or "none",
            base_url=connection.url,
            max_retries=0,
            http_client=http,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._openai.close()

    def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send one request and return the body of its 200.

        Args:
            path: Below the connection's address, `/chat/completions`.
            body: What is sent as JSON.
            seconds: How long the server may be silent; default `request_seconds`.
            headers: Sent beside those that every request has.

        Raises:
            CallFailed: There is none; with the failure's name.
        """
        import httpx2
        import openai

        longest = seconds or self._patience.request_seconds
        timeout = httpx2.Timeout(longest, connect=self._patience.connect_seconds)
        try:
            answer = self._openai.post(
                path,
                cast_to=httpx2.Response,
                body=body,
                options={"timeout": timeout, "headers": {**(headers or {}), **self._own_headers}},
            )
        except openai.APITimeoutError as error:
            if isinstance(error.__cause__, (httpx2.ConnectTimeout, httpx2.PoolTimeout)):
                raise CallFailed(Outcome.unreachable, "no connection in time") from None
            raise CallFailed(Outcome.timeout, f"no answer within {longest:g} s") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            outcome = Outcome.lost
            if isinstance(cause, httpx2.ConnectError):
                outcome = Outcome.unreachable
            problem = self._hidden(f"{type(cause).__name__}: {cause}")
            raise CallFailed(outcome, problem) from None
        except openai.APIStatusError as error:
            raise self._failure(error) from None
        # It may be kept and shown, whatever the server put into it.
        return answer.content.replace(self._key.encode(), b"***") if self._key else answer.content

    def _failure(self, error: openai.APIStatusError) -> CallFailed:
        """Return what a status other than 200 means for this request."""
        answer, status = error.response, error.status_code
        text = self._hidden(answer.text)
        shown = f"{status} {text[:SHOWN]}"
        if status < 400:
            shown += f" (sends us on to {answer.headers.get('Location', 'nowhere')!r})"
        outcome = Outcome.refused
        if status == 429:
            outcome = Outcome.rate_limited
        elif status in _GATEWAY:
            outcome = Outcome.gateway_error
        elif status in _PASSING or status >= 500:
            outcome = Outcome.server_error
        wait = _seconds(answer.headers.get("Retry-After"))
        return CallFailed(outcome, shown, retry_after=wait, body=text, status=status)

    def _hidden(self, text: str) -> str:
        """Return a text of the server's in which the key, if it repeats that, is not shown."""
        return text.replace(self._key, "***") if self._key else text


def stopping_error(failed: CallFailed) -> SparringError | None:
    """Return the error of a failure that every other request would meet too; None for others."""
    status = failed.status
    if status in (401, 403):
        return ConfigError(f"the model server does not accept the key: {failed}")
    if status == 404:
        return ConfigError(f"the model server has no such model or address: {failed}")
    if status == 402 or (status == 429 and "insufficient_quota" in failed.body):
        return BudgetExhausted(f"the account at the model server has nothing left: {failed}")
    if 300 <= status < 400:
        return ConfigError(
            f"the model server lies elsewhere, and no redirect is followed: {failed}; if that is "
            "right, make it the url"
        )
    return None


class Retries:
    """The one layer that asks again: jittered pauses, shared limits, a circuit breaker."""

    def __init__(
        self, patience: PatienceConfig, limiter: Limiter, breaker: CircuitBreaker | None = None
    ) -> None:
        """Take what all calls of one server share."""
        self._patience, self.limiter = patience, limiter
        self._breaker = breaker or CircuitBreaker(
            patience.breaker_failures, patience.breaker_seconds, patience.breaker_probes
        )

    def call(self, attempt: Callable[[int], Result]) -> Result:
        """Return what an attempt brings; it is told its number, counted from 0.

        Raises:
            CallFailed: The last attempt's, or the first that no other can mend.
            GivenUpError: It was ended while it waited.
            Exception: Whatever else an attempt raises, at once.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        patience = self._patience
        retrying = Retrying(
            stop=stop_after_attempt(1 + patience.retries),
            wait=wait_random_exponential(patience.first_pause, max=patience.longest_pause),
            retry=retry_if_exception(
                lambda error: isinstance(error, CallFailed) and error.outcome.may_pass
            ),
            sleep=self.limiter.wait,
            after=self._heed,
            reraise=True,
        )
        numbers = iter(range(1 + patience.retries))
        return retrying(lambda: self._once(attempt, next(numbers)))

    def _once(self, attempt: Callable[[int], Result], number: int) -> Result:
        is_probe = self._breaker.wait_turn(self.limiter.wait)
        problem: str | None = None
        try:
            return attempt(number)
        except CallFailed as error:
            problem = str(error) if error.outcome.is_trouble else None
            raise
        except GivenUpError:
            raise
        finally:
            self._breaker.record(problem, is_probe=is_probe)

    def _heed(self, state: RetryCallState) -> None:
        """Let all calls wait for as long as the server wants it."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, CallFailed) and error.retry_after:
            self.limiter.pause(error.retry_after)


def _seconds(retry_after: str | None) -> float:
    """Read the header, seconds or a date; what is neither counts as nothing."""
    try:
        seconds = float(retry_after or 0.0)
    except ValueError:
        try:
            until = parsedate_to_datetime(str(retry_after))
            seconds = (until - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if math.isfinite(seconds) else 0.0
