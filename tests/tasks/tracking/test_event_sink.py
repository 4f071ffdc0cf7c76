"""The background thread needs of a tracking backend what `EventSink` says, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.tracking import event_sink
from tasks.tracking.event_sink import EventSink, open_sink
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.spool import Spool, read_segments, spooled_runs


class Names:
    """A backend that keeps the names of events, and fails as often as the test wants."""

    def __init__(self, failures: int) -> None:
        self.failures, self.names = failures, list[str]()

    def drain(self, spool_root: Path, *, wait_seconds: float = 0.0) -> int:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        found = [
            event["event"]
            for folder in spooled_runs(spool_root)
            for segment in read_segments(folder)
            for event in segment.events
        ]
        new = len(found) - len(self.names)
        self.names = found
        return new


@pytest.mark.parametrize("failures", [0, 2])
def test_another_backend_gets_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    sink = Names(failures)

    def choose(mlruns: Path, home: Path | None, known: EventSink | None) -> EventSink:
        assert known in (None, sink)
        return sink

    monkeypatch.setattr(event_sink, "open_sink", choose)
    monkeypatch.setattr("tasks.tracking.mlflow_record.background_sync._AGAIN_SECONDS", 0.01)
    spool = Spool(tmp_path / "spool", "apo-1")
    recorder = Recorder(spool, tmp_path / "mlruns")
    recorder.start()
    spool.run_started(flow="apo", experiment="apo", params={})
    spool.stage_started("k" * 64, name="sft", attempt=1, params={}, tags={})
    spool.stage_finished("k" * 64, "FINISHED", tags={})
    spool.run_finished("FINISHED", "completed")
    assert recorder.close() == (failures == 0)
    if failures == 0:
        assert sink.names == ["run_started", "stage_started", "stage_finished", "run_finished"]


def test_the_chosen_backend_is_kept_while_it_is_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first = open_sink(tmp_path / "one")
    assert open_sink(tmp_path / "one", known=first) is first
    assert open_sink(tmp_path / "two", known=first) is not first
