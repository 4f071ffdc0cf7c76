"""Slots count GPUs: who may start, who is put off, and that together they never take too many."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Running, Scheduled

from flows.configs.placement import Place
from flows.placement.slots import HOLD, admit, is_held

NOW = datetime.now(UTC)
DEPLOYMENT = uuid4()


class Server:
    """Keeps flow runs as Prefect's server does, as far as slots ask it."""

    def __init__(self) -> None:
        self.runs: dict[UUID, FlowRun] = {}

    def add(self, gpus: int, state: State[Any] | None = None) -> FlowRun:
        """Make a flow run, held unless a state is given, later than all before."""
        run = FlowRun(
            id=uuid4(),
            name=f"run {len(self.runs)}",
            flow_id=uuid4(),
            deployment_id=DEPLOYMENT,
            created=NOW + timedelta(seconds=len(self.runs)),
            job_variables={"gpus": gpus},
            state=state or Scheduled(scheduled_time=datetime.now(UTC) + HOLD),
        )
        self.runs[run.id] = run
        return run

    def read_flow_runs(self, flow_run_filter: Any) -> list[FlowRun]:
        """Return all: who filters is the real server."""
        assert flow_run_filter.deployment_id.any_ == [DEPLOYMENT]
        return list(self.runs.values())

    def set_flow_run_state(self, flow_run: UUID, state: State[Any], force: bool) -> None:
        """Give a flow run another state."""
        self.runs[flow_run] = self.runs[flow_run].model_copy(update={"state": state})

    def at_work(self) -> int:
        """Return the GPUs of those that are let in."""
        return sum(run.job_variables["gpus"] for run in self.runs.values() if not is_held(run))


@pytest.fixture
def server() -> Any:
    return Server()


def test_what_fits_starts_and_what_does_not_says_who_has_the_rest(server: Any) -> None:
    place = Place(pool="p", slots=4, queue="gpu")
    server.add(3, Running())
    wide, small = server.add(2), server.add(1)
    assert admit(server, wide, place) == (
        "waits for 2 GPU(s) of queue 'gpu' (3 of 4 taken: 3 by 'run 0')"
    )
    assert is_held(server.runs[wide.id])
    # It would fit; but then the one before it might wait for ever.
    assert "3 by 'run 0', 2 by 'run 1'" in admit(server, small, place)
    del server.runs[next(iter(server.runs))]
    assert admit(server, small, place) == "" and not is_held(server.runs[small.id])
    assert admit(server, wide, place) == "" and not is_held(server.runs[wide.id])


def test_a_start_is_put_off_again_before_it_comes(server: Any) -> None:
    place = Place(pool="p", slots=1, queue="gpu")
    server.add(1, Running())
    soon = datetime.now(UTC) + timedelta(seconds=30)
    waiting = server.add(1, Scheduled(scheduled_time=soon))
    admit(server, waiting, place)
    assert server.runs[waiting.id].state.state_details.scheduled_time > soon + HOLD / 2
    before = server.runs[waiting.id]
    admit(server, before, place)
    assert server.runs[waiting.id] is before, "not at every look"


def test_one_whose_waiter_was_killed_holds_up_nobody(server: Any) -> None:
    """Its start was put off for the last time two minutes ago, and comes in three."""
    place = Place(pool="p", slots=4, queue="gpu")
    server.add(3, Running())
    left = datetime.now(UTC) + HOLD - timedelta(minutes=2)
    server.add(2, Scheduled(scheduled_time=left))
    small = server.add(1)
    assert admit(server, small, place) == "" and not is_held(server.runs[small.id])
    # What waits says so often enough.
    waiting = server.add(2, Scheduled(scheduled_time=datetime.now(UTC) + HOLD * 0.8))
    admit(server, waiting, place)
    assert server.runs[waiting.id].state.state_details.scheduled_time > left + HOLD / 4
    assert "2 by 'run 3'" in admit(server, server.add(1), place)


def test_one_whose_start_came_while_nobody_waited_counts_as_at_work(server: Any) -> None:
    place = Place(pool="p", slots=1, queue="gpu")
    server.add(1, Scheduled(scheduled_time=datetime.now(UTC) - timedelta(seconds=1)))
    assert "run 0" in admit(server, server.add(1), place)


def test_more_than_there_are_starts_alone_and_is_refused_where_it_runs(server: Any) -> None:
    place = Place(pool="p", slots=2, queue="gpu")
    assert admit(server, server.add(8), place) == ""


@pytest.mark.parametrize("seed", range(5))
def test_however_they_take_turns_there_are_never_too_many_and_all_get_in(
    server: Any, seed: int
) -> None:
    dice, place = random.Random(seed), Place(pool="p", slots=4, queue="gpu")
    for _ in range(12):
        server.add(dice.choice([1, 1, 2, 4]))
    while server.runs:
        # Each looks at what it has read before the others moved.
        for run in dice.sample(list(server.runs.values()), 3 if len(server.runs) > 2 else 1):
            if is_held(run):
                admit(server, run, place)
        assert server.at_work() <= place.slots
        for run in list(server.runs.values()):
            if not is_held(run) and dice.random() < 0.3:
                del server.runs[run.id]
