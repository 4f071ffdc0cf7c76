"""How often a server is asked: its limits per minute, its pauses, and whether it is up at all.

Both are shared by all threads that ask one server. Whoever waits gives up once `end` was called.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tasks.settings.errors import StageError

_MINUTE = 60.0
_AGAIN = 0.05
"""Seconds after which who waits for another thread's probe looks again."""

Clock = Callable[[], float]


class GivenUpError(StageError):
    """Nobody wants the answer any more."""


class Ticket:
    """The permission for one call, with the tokens that it counts for."""

    __slots__ = ("time", "tokens")

    def __init__(self, time: float, tokens: int) -> None:
        self.time, self.tokens = time, tokens


class Limiter:
    """Keeps calls below so many a minute, and quiet while the server wants to be left alone.

    In no span of a minute there are more requests, or tokens, than allowed. A call counts with the
    most tokens that it may take, and once it is over with those that it took.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._requests, self._tokens, self._clock = requests_per_minute, tokens_per_minute, clock
        self._lock = threading.Lock()
        self._recent: deque[Ticket] = deque()
        self._not_before = 0.0
        self._ended = threading.Event()

    def acquire(self, tokens: int = 0) -> Ticket:
        """Wait until a call of so many tokens may be made.

        Raises:
            GivenUpError: It was ended meanwhile.
        """
        while True:
            with self._lock:
                now = self._clock()
                delay = self._delay(now, tokens)
                if delay <= 0 and not self._ended.is_set():
                    self._recent.append(ticket := Ticket(now, tokens))
                    return ticket
            self.wait(delay)

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """Let a call that is over count for the tokens that it took."""
        with self._lock:
            ticket.tokens = tokens

    def pause(self, seconds: float) -> None:
        """Let nobody ask for so long, as a server wants it by `Retry-After`."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)

    def wait(self, seconds: float) -> None:
        """Sleep, at most until it is ended.

        Raises:
            GivenUpError: It was ended.
        """
        if self._ended.wait(max(0.0, seconds)):
            raise GivenUpError("asking the model server was given up")

    def end(self) -> None:
        """Let all who wait, and all who come, give up."""
        self._ended.set()

    def _delay(self, now: float, tokens: int) -> float:
        """Return for how long a call must wait at least."""
        recent = self._recent
        while recent and recent[0].time <= now - _MINUTE:
            recent.popleft()
        delay = self._not_before - now
        if self._requests is not None and len(recent) >= self._requests:
            delay = max(delay, recent[len(recent) - self._requests].time + _MINUTE - now)
        if self._tokens is not None:
            # What alone is more than a minute's share goes when nothing else does.
            over = sum(one.tokens for one in recent) + tokens - max(self._tokens, tokens)
            for one in recent:
                if over <= 0:
                    break
                over -= one.tokens
                delay = max(delay, one.time + _MINUTE - now)
        return delay


class CircuitBreaker:
    """Stops asking a server that answers nobody, and tries it now and then with one call."""

    def __init__(
        self, failures: int, seconds: float, probes: int, clock: Clock = time.monotonic
    ) -> None:
        """Take when it opens.

        Args:
            failures: So many failures one after the other open it.
            seconds: How long nobody asks then, until one call probes.
            probes: So many probes in vain, and it is given up.
            clock: Seconds that only grow.
        """
        self._most, self._seconds, self._probes = failures, seconds, probes
        self._clock, self._lock = clock, threading.Lock()
        self._failures = self._vain = 0
        self._open_until: float | None = None
        self._is_probing = False
        self._last = ""

    def wait_turn(self, wait: Callable[[float], None]) -> bool:
        """Return when a call may be made; `wait` sleeps, and raises what ends the waiting.

        Returns:
            Whether this call is a probe, which `record` is to be told.

        Raises:
            StageError: The server is given up.
        """
        while True:
            with self._lock:
                if self._vain >= self._probes:
                    raise StageError(
                        f"the model server is given up after {self._vain} probes in vain, the last "
                        f"time: {self._last}; what was answered is kept, run again when it is up"
                    )
                if self._open_until is None:
                    return False
                delay = self._open_until - self._clock()
                if delay <= 0 and not self._is_probing:
                    self._is_probing = True
                    return True
            wait(max(delay, _AGAIN))

    def record(self, problem: str | None, *, is_probe: bool = False) -> None:
        """Take how a call ended: with a failure that speaks against the server, or None."""
        with self._lock:
            if is_probe:
                self._is_probing = False
            if problem is None:
                self._failures = self._vain = 0
                self._open_until = None
                return
            self._last, self._failures = problem, self._failures + 1
            self._vain += is_probe
            if is_probe or (self._open_until is None and self._failures >= self._most):
                self._open_until = self._clock() + self._seconds
