"""What a stage's body says goes to the spool; of a training, how busy its machine is too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.prefect_task import StageTask, stage_task
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace
from tasks.tracking.spool import read_segments


def stage(produces: Literal["policy"] | None) -> StageTask:
    def train(data: Artifact, *, workspace: Workspace, log: Log) -> dict[str, float]:
        """Say two steps, and something of the whole."""
        for step in (1, 2):
            log({"loss": 1.0}, step)
        log({"all": 1.0})
        write_atomic(workspace.output / "model", "x")
        return {}

    return stage_task(version=1, produces=produces)(train)


@pytest.mark.parametrize("produces", ["policy", None])
def test_the_machine_is_measured_while_a_model_is_trained(
    produces: Literal["policy"] | None, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps within ten seconds have one measurement, at the first."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (tmp_path / "data").write_text("x")
    with open_run("apo", config={}, config_text="{}", home=home) as run:
        stage(produces)(external_artifact(tmp_path / "data"))
    told = [
        (event["step"], name)
        for segment in read_segments(home.spool / run.run_id)
        for event in segment.events
        if event["event"] == "metrics"
        for name in event["values"]
    ]
    assert [one for one in told if not one[1].startswith("system/")] == [
        (1, "loss"),
        (2, "loss"),
        (None, "all"),
    ]
    steps = {step for step, name in told if name.startswith("system/")}
    assert steps == ({1} if produces else set())
