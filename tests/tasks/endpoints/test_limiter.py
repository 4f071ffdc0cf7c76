"""Limits per minute and the circuit breaker, by a clock that the test turns."""

from __future__ import annotations

import random

import pytest

from tasks.endpoints.limiter import CircuitBreaker, GivenUpError, Pauses, RateLimits
from tasks.settings.errors import StageError


class Turned:
    """A clock that stands still, but for those who wait."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Asked:
    """Asks as often as limits allow, by a turned clock."""

    def __init__(self, limits: RateLimits) -> None:
        self.limits, self.clock = limits, Turned()
        self.calls: list[tuple[float, int]] = []

    def acquire(self, tokens: int = 1) -> None:
        while (delay := self.limits.delay(self.calls, tokens, self.clock.now)) > 0:
            self.clock.sleep(delay)
        self.calls.append((self.clock.now, tokens))


def test_no_minute_has_more_than_allowed() -> None:
    rng, asked = random.Random(0), Asked(RateLimits(7, 100))
    for _ in range(300):
        asked.acquire(rng.randrange(1, 60))
        asked.clock.sleep(rng.random())
    for time, _ in asked.calls:
        within = [taken for other, taken in asked.calls if time <= other < time + 60 - 1e-6]
        assert len(within) <= 7 and sum(within) <= 100


def test_waits_no_longer_than_it_must() -> None:
    """Three a minute: ten calls begin in four portions, the last 180 seconds after the first."""
    asked = Asked(RateLimits(requests=3))
    for _ in range(10):
        asked.acquire()
    assert asked.clock.now == pytest.approx(1180.0)


def test_a_settled_call_counts_with_what_it_took() -> None:
    """Of 100 a minute, five that took 10 each leave room for one more of 50, and no second."""
    asked = Asked(RateLimits(tokens=100))
    asked.calls = [(1000.0, 10)] * 5
    asked.acquire(50)
    assert asked.clock.now == pytest.approx(1000.0)
    asked.acquire(50)
    assert asked.clock.now == pytest.approx(1060.0)


def test_a_call_larger_than_a_minutes_share_goes_alone() -> None:
    asked = Asked(RateLimits(tokens=100))
    asked.acquire(1)
    asked.acquire(500)
    assert asked.clock.now == pytest.approx(1060.0)
    asked.acquire(1)
    assert asked.clock.now == pytest.approx(1120.0)


def test_a_clock_that_was_set_back_does_not_stop_it_for_long() -> None:
    """Calls of an hour ahead count as long past."""
    assert RateLimits(requests=1).delay([(4600.0, 1)], 1, 1000.0) == 0


def test_a_pause_holds_everybody_and_the_end_frees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned()
    pauses = Pauses(clock)
    monkeypatch.setattr(pauses, "wait", lambda seconds: clock.sleep(max(0.0, seconds)))
    pauses.pause(30)
    pauses.pause(5)
    pauses.wait_turn()
    assert clock.now == pytest.approx(1030.0)
    waiting = Pauses()
    waiting.pause(600)
    waiting.end()
    with pytest.raises(GivenUpError):
        waiting.wait_turn()


def test_breaker_opens_probes_once_and_closes() -> None:
    clock = Turned()
    breaker = CircuitBreaker(3, 10.0, 5, clock)
    for _ in range(3):
        assert not breaker.wait_turn(clock.sleep)
        breaker.record("down")
    assert breaker.wait_turn(clock.sleep) and clock.now == pytest.approx(1010.0)

    def found_waiting(_: float) -> None:
        raise GivenUpError("a second call waits while the first probes")

    with pytest.raises(GivenUpError):
        breaker.wait_turn(found_waiting)
    breaker.record(None, is_probe=True)
    assert not breaker.wait_turn(clock.sleep) and clock.now == pytest.approx(1010.0)


def test_success_between_failures_keeps_it_closed() -> None:
    clock = Turned()
    breaker = CircuitBreaker(3, 10.0, 5, clock)
    for _ in range(20):
        for problem in ("down", "down", None):
            assert not breaker.wait_turn(clock.sleep)
            breaker.record(problem)
    assert clock.now == 1000.0


def test_breaker_gives_a_dead_server_up() -> None:
    clock = Turned()
    breaker = CircuitBreaker(1, 10.0, 3, clock)
    breaker.record("refused")
    for _ in range(3):
        assert breaker.wait_turn(clock.sleep)
        breaker.record("refused", is_probe=True)
    assert clock.now == pytest.approx(1030.0)
    with pytest.raises(StageError, match="3 probes in vain, the last time: refused"):
        breaker.wait_turn(clock.sleep)
