"""SIGTERM stops a block by an exception, where nobody else has a use for the signal."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tasks.processes.termination import FirstInterrupt, Terminated, terminate_as_interrupt


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


def test_the_first_ctrl_c_says_what_happens_and_interrupts() -> None:
    said: list[str] = []
    told = threading.Event()

    def say() -> None:
        said.append("stopping")
        told.set()

    with FirstInterrupt(say):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                signal.sigtimedwait([], 5)
    assert told.wait(5) and said == ["stopping"]
    assert not isinstance(signal.getsignal(signal.SIGINT), FirstInterrupt)
