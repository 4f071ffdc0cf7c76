"""Signals stop a block by an exception, where nobody else has a use for them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tasks.processes.termination import (
    FirstInterrupt,
    Terminated,
    give_back,
    handle_stops,
    heeding_stops,
    terminate_as_interrupt,
    unbroken,
    unheeded,
)
from tasks.settings.errors import ConfigError


def test_sigterm_stops_the_block_and_is_given_back() -> None:
    with pytest.raises(Terminated, match="ended by SIGTERM"), terminate_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 5)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_somebody_elses_handler_is_left_alone() -> None:
    def mine(number: int, frame: object) -> None:
        """Do nothing."""

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with terminate_as_interrupt():
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_cannot_take_signals() -> None:
    found = []

    def work() -> None:
        with terminate_as_interrupt():
            found.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


@pytest.fixture
def heard() -> Iterator[None]:
    """Hear a lost terminal, whatever the tests were started by."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_says_what_happens_and_interrupts(
    number: signal.Signals, heard: None
) -> None:
    said: list[str] = []
    told = threading.Event()

    def say() -> None:
        said.append("stopping")
        told.set()

    with FirstInterrupt(say):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 5)
    assert told.wait(5) and said == ["stopping"]
    assert not isinstance(signal.getsignal(number), FirstInterrupt)


def test_a_lost_terminal_is_left_alone_under_nohup(heard: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = handle_stops(signal.default_int_handler)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    give_back(before)


def test_an_unbroken_block_comes_to_its_end_before_the_signal_is_heard(heard: None) -> None:
    ended = False
    with FirstInterrupt(lambda: None), pytest.raises(Terminated), unbroken(), unbroken():
        os.kill(os.getpid(), signal.SIGHUP)
        signal.sigtimedwait([], 0.1)
        ended = True
    assert ended


def _swallowed(number: signal.Signals = signal.SIGINT) -> None:
    """Be a library that is told to stop, and catches whatever an import of its own raises."""
    try:
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)
    except BaseException:
        pass


def test_an_interrupt_that_a_library_kept_ends_the_block_at_its_end() -> None:
    reached = False
    with FirstInterrupt(lambda: None), pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        with heeding_stops():
            _swallowed(signal.SIGTERM)
            reached = True
    assert reached and unheeded() is None
    with heeding_stops():
        """What was heeded stops nothing else."""


def test_an_interrupt_that_was_kept_between_two_steps_lets_no_other_begin() -> None:
    begun: list[int] = []
    seen: list[str | None] = []
    with FirstInterrupt(lambda: None), pytest.raises(KeyboardInterrupt), heeding_stops():
        for step in range(3):
            with heeding_stops():
                begun.append(step)
            if step == 1:
                _swallowed()
                seen.append(unheeded())
    assert begun == [0, 1] and seen == ["SIGINT"]


def test_an_error_after_a_signal_is_a_stop_unless_it_is_ours() -> None:
    with FirstInterrupt(lambda: None):
        with pytest.raises(KeyboardInterrupt, match="half read"), heeding_stops():
            _swallowed()
            raise ValueError("half read")
        with pytest.raises(ConfigError), heeding_stops():
            _swallowed()
            raise ConfigError("no such key")
        with pytest.raises(ValueError, match="whole"), heeding_stops():
            raise ValueError("whole")


def test_another_thread_is_not_stopped_by_what_the_main_one_heard() -> None:
    ended = []

    def work() -> None:
        with heeding_stops():
            assert unheeded() is None
            ended.append(True)

    with FirstInterrupt(lambda: None), pytest.raises(KeyboardInterrupt), heeding_stops():
        _swallowed()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert ended == [True]
