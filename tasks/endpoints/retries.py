"""The one layer that asks a server again: jittered pauses, shared by all calls, and a breaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tasks.endpoints.answers import CallFailed
from tasks.endpoints.config import PatienceConfig
from tasks.endpoints.limiter import CircuitBreaker, GivenUpError, Pauses

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")


class Retries:
    """The one layer that asks again: jittered pauses, shared limits, a circuit breaker."""

    def __init__(
        self, patience: PatienceConfig, pauses: Pauses, breaker: CircuitBreaker | None = None
    ) -> None:
        """Take what all calls of one server share."""
        self._patience, self.pauses = patience, pauses
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
            sleep=self.pauses.wait,
            after=self._heed,
            reraise=True,
        )
        numbers = iter(range(1 + patience.retries))
        return retrying(lambda: self._once(attempt, next(numbers)))

    def _once(self, attempt: Callable[[int], Result], number: int) -> Result:
        is_probe = self._breaker.wait_turn(self.pauses.wait)
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
            self.pauses.pause(error.retry_after)
