"""What MLflow knows, for tests to look at, and whether that is the whole story, once."""

from __future__ import annotations

from typing import Any

from tasks.tracking.mlflow_record import TrackingPlace
from tests.tasks.tracking.mlflow_record import story
from tests.tasks.tracking.mlflow_record.story import TITLES, digest, key


def client_of(place: TrackingPlace) -> Any:
    """MLflow's own client."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(place.uri)


def all_logged(place: TrackingPlace) -> dict[str, Any]:
    """All that MLflow knows: runs and models by name, none of them twice."""
    client = client_of(place)
    experiments = [item.experiment_id for item in client.search_experiments()]
    # A search does not return which models a run read.
    found = client.search_runs(experiments, max_results=1000)
    runs = [client.get_run(run.info.run_id) for run in found]
    models = client.search_logged_models(experiments, max_results=100)
    versions = client.search_model_versions()
    logged = {
        "runs": {run.data.tags["mlflow.runName"]: run for run in runs},
        "models": {model.name: model for model in models},
        "versions": {(item.name, item.tags["sparring.stage"]): item for item in versions},
    }
    counts = {"runs": len(runs), "models": len(models), "versions": len(versions)}
    assert {name: len(by_name) for name, by_name in logged.items()} == counts, "logged twice"
    return logged


def history(place: TrackingPlace, run: Any, metric: str) -> list[tuple[int, float]]:
    """A metric's steps and values."""
    points = client_of(place).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in points)


def check_story(place: TrackingPlace) -> dict[str, Any]:
    """The story is in MLflow, whole and once."""
    found = all_logged(place)
    runs, models = found["runs"], found["models"]
    assert set(runs) == {"apo-1", *TITLES.values()}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs["apo-1"].info.run_id
    assert all(runs[title].data.tags["mlflow.parentRunId"] == parent for title in TITLES.values())
    assert set(models) == {TITLES[stage] for stage in story.KINDS}
    ids = {name: model.model_id for name, model in models.items()}
    for stage, kind in story.KINDS.items():
        model, run = models[TITLES[stage]], runs[TITLES[stage]]
        assert str(model.status) == "READY" and model.model_type == kind
        assert model.source_run_id == run.info.run_id
        assert model.tags["sparring.digest"] == model.params["digest"] == digest(stage)
        assert [item.model_id for item in run.outputs.model_outputs] == [model.model_id]
    used = {
        stage: [item.model_id for item in runs[title].inputs.model_inputs]
        for stage, title in TITLES.items()
    }
    policy = ids[TITLES["b"]]
    assert used == {
        "a": [], "b": [], "c": [policy], "d": [policy], "e": [ids[TITLES["c"]]],
        "f": [ids[TITLES["d"]]],
    }  # fmt: skip
    assert set(found["versions"]) == {
        ("apo-policy", key("b")), ("apo-policy", key("d")), ("apo-reward-model", key("c")),
    }  # fmt: skip
    for title in (TITLES["c"], TITLES["d"]):
        steps = [(step, 1.0 / (step + 1)) for step in range(story.STEPS)]
        assert history(place, runs[title], "loss") == steps
    return found
