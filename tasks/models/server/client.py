"""One completion from a server that a stage started, asked for until it makes sense."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

from tasks.endpoints.answers import SHOWN, Answer, CallFailed, Outcome, read_answer
from tasks.endpoints.client import Connection, EndpointClient
from tasks.endpoints.config import PatienceConfig
from tasks.endpoints.limiter import CircuitBreaker, Pauses
from tasks.endpoints.retries import Retries
from tasks.settings.errors import StageError

if TYPE_CHECKING:
    from tasks.models.server.process import ModelServer

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class RefusedError(StageError):
    """The server does not take this request, now or later."""

    def __init__(self, status: int, text: str) -> None:
        """Take the HTTP status and the answer's body."""
        super().__init__(f"the model server refuses a request: {status} {text[:SHOWN]}")
        self.status = status


class CompletionClient:
    """Asks one server; many threads may use it at once."""

    def __init__(self, server: ModelServer) -> None:
        """Take a running server."""
        config = server.config
        patience = PatienceConfig(
            request_seconds=config.request_seconds,
            retries=config.retries,
            first_pause=_FIRST_PAUSE,
            longest_pause=_LONGEST_PAUSE,
        )
        self._server, self._pauses = server, Pauses()
        # Whether it is up is not guessed from failures: its program is looked at.
        never = CircuitBreaker(sys.maxsize, 0.0, 1)
        self._retries = Retries(patience, self._pauses, never)
        connection = Connection(f"{server.url}/v1", connections=config.concurrency)
        self._client = EndpointClient(connection, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End: whoever waits for a next attempt gives up."""
        self._pauses.end()
        self._client.close()

    def ask(self, body: dict[str, Any], seconds: float | None = None) -> Answer:
        """Return one completion; an empty one, or one that the limit cut off, is one too.

        An attempt may take so many seconds; None: `request_seconds`.

        Raises:
            RefusedError: 4xx, but for those that pass.
            StageError: The server ended, or gave no sensible answer in 1 + `retries` attempts.
        """
        try:
            return self._retries.call(lambda _: self._once(body, seconds))
        except CallFailed as error:
            if error.outcome is Outcome.refused:
                raise RefusedError(error.status, error.body) from None
            child, attempts = self._server.child, 1 + self._server.config.retries
            raise StageError(
                f"the model server gave no completion in {attempts} attempts, the last time: "
                f"{error}; the end of {child.log}:\n{child.tail()}"
            ) from None

    def _once(self, body: dict[str, Any], seconds: float | None) -> Answer:
        self._pauses.wait_turn()
        try:
            content = self._client.post("/completions", body, seconds=seconds)
            return read_answer(content, chat=False)
        except CallFailed as error:
            if error.outcome is not Outcome.refused:
                self._server.check()
            if error.outcome is Outcome.filtered:
                # A policy's draws are not a matter of taste: it may be another time.
                raise CallFailed(Outcome.other_reason, str(error), body=error.body) from None
            raise
