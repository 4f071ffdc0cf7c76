"""What the main training process says reaches the stage, and parts reach the stage's mirror."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks.settings.errors import StageError
from tasks.storage.files import write_json
from tasks.storage.workspace import Workspace
from tasks.training.distributed.job import TrainingJob, WorkOrder
from tasks.training.distributed.relay import Relay, WorkerChannel
from tasks.training.worker import _check


class Mirror:
    """Remembers names; refuses one of them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def available(self) -> list[str]:
        return []

    def saved(self, name, folder, files) -> None:
        if name == "refused":
            raise StageError("the bucket is full")
        assert (folder / files[0]["path"]).read_text() == "1"
        self.names.append(name)

    def dropped(self, name) -> None:
        self.names.remove(name)


def talk(relay: Relay, say) -> list[BaseException]:
    """Let a second thread be the training process; return what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            say(WorkerChannel(relay.address))
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        relay.serve(0.01)
    for _ in range(3):  # the connection, its words, its end
        relay.serve(0.05)
    return raised


def test_words_arrive_in_order(tmp_path, recording_log):
    def say(channel: WorkerChannel) -> None:
        channel({"kl": 0.0}, 0)
        channel({"loss": 1.5}, 1)
        channel.note("a sentence")
        channel.progress(1, 2, "steps")

    with Relay(Workspace(tmp_path), recording_log) as relay:
        assert talk(relay, say) == []
        # Only who has begun to train is ready for a signal.
        assert relay.process is not None
    assert recording_log.metrics == [(0, {"kl": 0.0}), (1, {"loss": 1.5})]
    assert recording_log.notes == ["a sentence"]
    assert not Path(relay.address).parent.exists()


def test_parts_of_the_process_are_mirrored_by_the_stage(tmp_path, recording_log):
    mirror = Mirror()
    stage = Workspace(tmp_path, mirror=mirror)

    def say(channel: WorkerChannel) -> None:
        own = Workspace(tmp_path, mirror=channel)
        for name in ("a", "b"):
            own.save_part(name, lambda folder: (folder / "x").write_text("1"))
        own.drop_part("a")

    with Relay(stage, recording_log) as relay:
        assert talk(relay, say) == []
    assert mirror.names == ["b"]


def test_a_part_that_the_stage_cannot_keep_stops_the_process(tmp_path, recording_log):
    def say(channel: WorkerChannel) -> None:
        own = Workspace(tmp_path, mirror=channel)
        own.save_part("refused", lambda folder: (folder / "x").write_text("1"))

    with Relay(Workspace(tmp_path, mirror=Mirror()), recording_log) as relay:
        (error,) = talk(relay, say)
        assert "could not keep a part: the bucket is full" in str(error)
        assert isinstance(relay.error, StageError)


def test_a_process_whose_stage_was_taken_over_keeps_nothing(tmp_path):
    lease = tmp_path / "lease.json"
    write_json(lease, {"token": 4, "owner": {"pid": 1}})
    job = TrainingJob(kind="policy", model=tmp_path, config={}, seed=0)
    order = WorkOrder(
        job=job, workspace=tmp_path, outcome=tmp_path, address="", mirrored=False, lease=lease,
        token=4,
    )  # fmt: skip
    _check(order)
    write_json(lease, {"token": 5, "owner": {"pid": 2}})
    workspace = Workspace(tmp_path, guard=lambda: _check(order))
    with pytest.raises(StageError, match="attempt 4 lost its lease"):
        workspace.save_part("a", lambda folder: (folder / "x").write_text("1"))
    assert workspace.part_names() == []
