"""The first signal is noted, the second acts as it always did."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tasks.processes.termination import FirstInterrupt, heeding_stops
from tasks.training.distributed.interruption import StopSignal


def test_second_ctrl_c_is_immediate():
    with StopSignal() as stop:
        assert stop.requested is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            # The handler runs between two bytecodes.
            signal.sigtimedwait([], 1)


def test_other_threads_leave_signals_alone():
    found = []

    def watch() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with StopSignal() as stop:
            found.append(signal.getsignal(signal.SIGTERM) is before and stop.requested is None)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert found == [True]


def test_a_training_answers_ctrl_c_and_goes_on_to_the_end_of_its_step():
    told = threading.Event()
    with FirstInterrupt(told.set), StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == "SIGINT" and told.wait(5)


def test_what_was_lost_while_the_training_was_made_ready_stops_it_at_its_first_step():
    requested = []
    with FirstInterrupt(lambda: None), pytest.raises(KeyboardInterrupt), heeding_stops():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)
        except BaseException:  # as a library around an import
            pass
        with StopSignal() as stop:
            requested.append(stop.requested)
    assert requested == ["SIGINT"]
    with heeding_stops(), StopSignal() as stop:
        assert stop.requested is None
