"""Limits per minute and the circuit breaker, by a clock that the test turns."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tasks.endpoints.limiter import CircuitBreaker, GivenUpError, Limiter
from tasks.settings.errors import StageError


class Turned:
    """A clock that stands still, but for those who wait."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def limiter_of(clock: Turned, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> Limiter:
    limiter = Limiter(clock=clock, **limits)
    monkeypatch.setattr(limiter, "wait", clock.sleep)
    return limiter


def test_no_minute_has_more_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rng = Turned(), random.Random(0)
    limiter = limiter_of(clock, monkeypatch, requests_per_minute=7, tokens_per_minute=100)
    taken: list[tuple[float, int]] = []
    for _ in range(300):
        tokens = rng.randrange(1, 60)
        limiter.acquire(tokens)
        taken.append((clock.now, tokens))
        clock.sleep(rng.random())
    for time, _ in taken:
        within = [tokens for other, tokens in taken if time <= other < time + 60 - 1e-6]
        assert len(within) <= 7 and sum(within) <= 100


def test_waits_no_longer_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three a minute: ten calls begin in four portions, the last 180 seconds after the first."""
    clock = Turned()
    limiter = limiter_of(clock, monkeypatch, requests_per_minute=3)
    for _ in range(10):
        limiter.acquire()
    assert clock.now == pytest.approx(1180.0)


def test_a_settled_call_counts_with_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 a minute, five that took 10 each leave room for one more of 50, and no second."""
    clock = Turned()
    limiter = limiter_of(clock, monkeypatch, tokens_per_minute=100)
    for _ in range(5):
        limiter.settle(limiter.acquire(50), 10)
    limiter.acquire(50)
    assert clock.now == pytest.approx(1000.0)
    limiter.acquire(50)
    assert clock.now == pytest.approx(1060.0)


def test_a_call_larger_than_a_minutes_share_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned()
    limiter = limiter_of(clock, monkeypatch, tokens_per_minute=100)
    limiter.acquire(1)
    limiter.acquire(500)
    assert clock.now == pytest.approx(1060.0)
    limiter.acquire(1)
    assert clock.now == pytest.approx(1120.0)


def test_a_pause_holds_everybody_and_the_end_frees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned()
    limiter = limiter_of(clock, monkeypatch)
    limiter.pause(30)
    limiter.pause(5)
    limiter.acquire()
    assert clock.now == pytest.approx(1030.0)
    waiting = Limiter()
    waiting.pause(600)
    waiting.end()
    with pytest.raises(GivenUpError):
        waiting.acquire()


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
