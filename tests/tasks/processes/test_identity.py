"""A process is told from a later one with its number, and from one that cannot be seen."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from tasks.processes.identity import ProcessIdentity, _identify, current_process


def test_this_process_lives_and_survives_json() -> None:
    me = current_process()
    assert me.is_local() and not me.is_known_dead()
    assert ProcessIdentity.from_json(me.to_json()) == me


def test_a_process_that_ended_is_known_dead_even_before_it_is_reaped() -> None:
    child = subprocess.Popen(["sleep", "600"])
    found = _identify(child.pid)
    assert not found.is_known_dead()
    child.kill()
    while not found.is_known_dead():
        assert child.returncode is None
    child.wait()
    assert found.is_known_dead()


def test_a_number_used_again_is_another_process() -> None:
    assert replace(current_process(), started=1).is_known_dead()


def test_of_another_machine_or_container_nothing_is_known() -> None:
    me = current_process()
    for elsewhere in (replace(me, boot="other"), replace(me, namespace="other")):
        assert not elsewhere.is_local()
        assert not replace(elsewhere, started=1).is_known_dead()
