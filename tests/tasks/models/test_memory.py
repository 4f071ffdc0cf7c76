"""Memory that stays with the process: on inside the block, off after the last one."""

from __future__ import annotations

import threading

import pytest

from tasks.models import memory
from tasks.models.memory import kept_memory


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def note(parameters: dict[int, int]) -> None:
        calls.append("keep" if parameters is memory._KEEP else "usual")

    monkeypatch.setattr(memory, "_set", note)
    monkeypatch.setattr(memory, "_give_back", lambda: calls.append("give back"))
    return calls


def test_blocks_nest(told: list[str]) -> None:
    with kept_memory():
        with kept_memory():
            assert told == ["keep"]
        assert told == ["keep"]
    assert told == ["keep", "usual", "give back"]


def test_blocks_of_threads_overlap(told: list[str]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with kept_memory():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with kept_memory():
        thread.start()
        assert entered.wait(10)
    assert told == ["keep"]
    leave.set()
    thread.join(10)
    assert told == ["keep", "usual", "give back"]


def test_an_error_inside_restores(told: list[str]) -> None:
    with pytest.raises(RuntimeError, match="inside"), kept_memory():
        raise RuntimeError("inside")
    assert told == ["keep", "usual", "give back"]


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with kept_memory():
        pass
    assert memory._users == 0


class Library:
    def __init__(self) -> None:
        self.set: dict[int, int] = {}
        self.trimmed = 0

    def mallopt(self, parameter: int, value: int) -> None:
        self.set[parameter] = value

    def malloc_trim(self, pad: int) -> None:
        self.trimmed += 1


def test_the_library_is_told_to_keep_and_then_its_usual_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    with kept_memory():
        assert library.set == {-8: 1, -4: 0, -1: 2**31 - 1, -2: 256 << 20}
    assert library.set[-4] == 65536 and library.set[-3] == 32 << 20 and library.trimmed == 1
