"""How often a server is asked: its limits per minute, its pauses, and whether it is up at all.

The limits are those of all machines that share a ledger; pauses and the breaker are shared by all
threads that ask one server. Whoever waits gives up once `end` was called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tasks.settings.errors import StageError

_MINUTE = 60.0
_AGAIN = 0.05
"""Seconds after which who waits for another thread's probe looks again."""

Clock = Callable[[], float]


class GivenUpError(StageError):
    """Nobody wants the answer any more."""


class RateLimits(NamedTuple):
    """The most that a server wants to be asked for in any minute; None for no limit."""

    requests: int | None = None
    """Requests."""
    tokens: int | None = None
    """Tokens, read and written."""

    def delay(self, calls: Iterable[tuple[float, int]], tokens: int, now: float) -> float:
        """Return for how many seconds a call must wait at least; 0 for not at all.

        In no span of a minute there are more requests, or tokens, than allowed.

        Args:
            calls: When the calls before it were made, seconds of the epoch, and their tokens: the
                most that they may take, and once they are over those that they took.
            tokens: The most that this call may take.
            now: The time, seconds of the epoch.
        """
        # Of another machine whose clock is ahead, or of this one before its clock was set back.
        recent = sorted(one for one in calls if abs(now - one[0]) < _MINUTE)
        delay = 0.0
        if self.requests is not None and len(recent) >= self.requests:
            delay = recent[len(recent) - self.requests][0] + _MINUTE - now
        if self.tokens is not None:
            # What alone is more than a minute's share goes when nothing else does.
            over = sum(one[1] for one in recent) + tokens - max(self.tokens, tokens)
            for made, taken in recent:
                if over <= 0:
                    break
                over -= taken
                delay = max(delay, made + _MINUTE - now)
        return delay


NO_LIMITS = RateLimits()
"""As often as it takes."""


class Pauses:
    """Keeps calls quiet while the server wants to be left alone."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._not_before = 0.0
        self._ended = threading.Event()

    def wait_turn(self) -> None:
        """Wait until a call may be made.

        Raises:
            GivenUpError: It was ended meanwhile.
        """
        while True:
            with self._lock:
                delay = self._not_before - self._clock()
            self.wait(delay)
            if delay <= 0:
                return

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
