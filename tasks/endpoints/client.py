"""One server with OpenAI's interface, and single calls of it, which never try again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tasks.endpoints.answers import SHOWN, CallFailed, Outcome
from tasks.endpoints.config import EndpointConfig, PatienceConfig
from tasks.settings.errors import BudgetExhausted, ConfigError, SparringError

if TYPE_CHECKING:
    import httpx2
    import openai

_PASSING = (408, 409, 425, 429)
_GATEWAY = (408, 502, 504, 522, 524)
_LONGEST_RETRY_AFTER = 600.0


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


def connection_to(config: EndpointConfig) -> Connection:
    """Return how a configured server is reached.

    Raises:
        ConfigError: The variable that is to hold the key is not set.
    """
    return Connection(config.url, config.key_value(), config.is_local, config.concurrency)


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

        longest = seconds or self._patience.request_seconds
        timeout = httpx2.Timeout(longest, connect=self._patience.connect_seconds)
        return self._content(
            lambda: self._openai.post(
                path,
                cast_to=httpx2.Response,
                body=body,
                options={"timeout": timeout, "headers": {**(headers or {}), **self._own_headers}},
            ),
            longest,
        )

    def models(self) -> bytes:
        """Return what the server says of the models that it has; that costs nothing.

        Raises:
            CallFailed: It says nothing; with the failure's name.
        """
        import httpx2

        seconds = self._patience.connect_seconds
        options: openai.RequestOptions = {"timeout": seconds, "headers": self._own_headers}
        return self._content(
            lambda: self._openai.get("/models", cast_to=httpx2.Response, options=options), seconds
        )

    def _content(self, ask: Callable[[], httpx2.Response], longest: float) -> bytes:
        """Return the body of the 200 that a request brings, or raise CallFailed."""
        import httpx2
        import openai

        try:
            answer = ask()
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
