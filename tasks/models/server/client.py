"""One completion from a server with OpenAI's interface, asked for until it makes sense."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.settings.errors import StageError

if TYPE_CHECKING:
    import httpx

    from tasks.models.server.process import ModelServer

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_CONNECT_SECONDS = 10.0
_SHOWN = 300
"""Characters of an answer that a message quotes."""


class Answer(NamedTuple):
    """What a server answered."""

    text: str
    """As sent."""
    reason: Literal["stop", "length"]
    """Why it ends: the model or a stop string ended it, or the limit."""
    prompt_tokens: int | None
    """Tokens the server read; None if it does not say."""
    tokens: int | None
    """Tokens it drew; None if it does not say."""
    ids: list[int] | None
    """The ids it drew; None if it does not say."""


class RefusedError(StageError):
    """The server does not take this request, now or later."""

    def __init__(self, status: int, text: str) -> None:
        """Take the HTTP status and the answer's body."""
        super().__init__(f"the model server refuses a request: {status} {text[:_SHOWN]}")
        self.status = status


class CompletionClient:
    """Asks one server; many threads may use it at once."""

    def __init__(self, server: ModelServer) -> None:
        """Take a running server."""
        import httpx

        config = server.config
        self._server = server
        self._http = httpx.Client(
            base_url=server.url,
            trust_env=False,  # no proxy for an address of this machine
            limits=httpx.Limits(max_connections=config.concurrency),
        )
        self._ended = threading.Event()
        self._not_before = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End: whoever waits for a next attempt gives up."""
        self._ended.set()
        self._http.close()

    def ask(self, body: dict[str, Any], seconds: float | None = None) -> Answer:
        """Return one completion.

        An error that may pass is met by another attempt after a jittered pause, which a
        `Retry-After` lengthens for all who ask. The whole request is repeated: there is no other
        layer of retries beneath. An attempt may take so many seconds; None: `request_seconds`.

        Raises:
            RefusedError: 4xx, but for those that pass.
            StageError: The server ended, or gave no sensible answer in 1 + `retries` attempts.
        """
        attempts = 1 + self._server.config.retries
        for attempt in range(attempts):
            self._wait(self._not_before - time.monotonic())
            try:
                return self._once(body, seconds or self._server.config.request_seconds)
            except _PassingError as error:
                self._server.check()
                problem = error
            if attempt + 1 < attempts:
                self._pause(attempt, problem.retry_after)
        raise StageError(
            f"the model server gave no completion in {attempts} attempts, the last time: {problem}"
            f"; the end of {self._server.child.log}:\n{self._server.child.tail()}"
        )

    def _once(self, body: dict[str, Any], seconds: float) -> Answer:
        import httpx

        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        try:
            answer = self._http.post("/v1/completions", json=body, timeout=timeout)
        except httpx.TimeoutException:
            raise _PassingError(f"no answer within {seconds:g} s") from None
        except httpx.RequestError as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from None
        if answer.status_code in (408, 409, 425, 429) or answer.status_code >= 500:
            problem = f"{answer.status_code} {answer.text[:_SHOWN]}"
            raise _PassingError(problem, _seconds(answer.headers.get("Retry-After")))
        if not answer.is_success:
            raise RefusedError(answer.status_code, answer.text)
        return _parse(answer)

    def _pause(self, attempt: int, retry_after: float) -> None:
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        # Jitter, or all who failed together would come back together.
        self._wait(longest * random.uniform(0.5, 1.0))
        self._not_before = max(self._not_before, time.monotonic() + retry_after)

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(max(0.0, seconds)):
            raise StageError("asking the model server was given up")


class _PassingError(Exception):
    """An error that another attempt may not meet."""

    def __init__(self, problem: str, retry_after: float = 0.0) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Usage(_Part):
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)


class _Choice(_Part):
    text: str
    finish_reason: str | None
    token_ids: list[Annotated[int, Field(ge=0)]] | None = None


class _Body(_Part):
    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: _Usage | None = None


def _parse(answer: httpx.Response) -> Answer:
    try:
        body = _Body.model_validate_json(answer.content)
    except ValidationError as error:
        where = error.errors()[0]
        raise _PassingError(
            f"200 with what is no completion ({'.'.join(map(str, where['loc'])) or 'body'}: "
            f"{where['msg']}): {answer.text[:_SHOWN]!r}"
        ) from None
    choice, usage = body.choices[0], body.usage or _Usage()
    # Looked at first: text that came with any other reason is not a response of the policy.
    if choice.finish_reason not in ("stop", "length"):
        raise _PassingError(
            f"finish_reason is {choice.finish_reason!r}; expected 'stop' or 'length'"
        )
    reason: Literal["stop", "length"] = "stop" if choice.finish_reason == "stop" else "length"
    return Answer(
        choice.text, reason, usage.prompt_tokens, usage.completion_tokens, choice.token_ids
    )


def _seconds(retry_after: str | None) -> float:
    """Read the header; a date, which servers for models do not send, counts as nothing."""
    try:
        return min(max(float(retry_after or 0.0), 0.0), 600.0)
    except ValueError:
        return 0.0
