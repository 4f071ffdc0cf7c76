"""MLflow as this process knows it: finds experiments, runs and models by our tags, or makes them.

Several processes, on several machines, may make the same thing at once. So whoever made one looks
again, and of several the first by id stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.storage.locks import FileLock
from tasks.tracking.mlflow_record.connection import TrackingPlace, connect, require_active
from tasks.tracking.mlflow_record.links import run_address
from tasks.tracking.mlflow_record.tags import RUN_TAG, STAGE_TAG, Page, where

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

Thing = TypeVar("Thing")


class UnknownRunError(LookupError):
    """The flow's run is not in MLflow yet; the process that owns it will put it there."""


class RegistryClient:
    """The experiments, runs and models of one MLflow, found by our own names.

    Args:
        place: The MLflow to connect to.

    Attributes:
        client: MLflow's own client.
        place: The MLflow it is connected to.
        tags: The tags of runs as they were seen last; to read a run again is slow.
    """

    def __init__(self, place: TrackingPlace) -> None:
        """Connect; raises whatever MLflow raises when it cannot be reached."""
        self.place = place
        self.client = connect(place)
        self.tags: dict[str, dict[str, str]] = {}
        self._experiments: list[str] = []
        self._makers: dict[str, Page] = {}
        self._models: dict[str, LoggedModel] = {}

    def experiment(self, name: str) -> str:
        """Return the id of the experiment of a name, making it if there is none.

        Raises:
            DeletedExperimentError: Somebody deleted it; the command that restores it is named.
        """
        from mlflow.exceptions import MlflowException

        with FileLock(self.place.lock):
            found = self.client.get_experiment_by_name(name)
            if found is not None:
                require_active(found)
                return str(found.experiment_id)
            # Without this tag the pages open in MLflow's mode for chat applications.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            files = self.place.artifacts and f"{self.place.artifacts}/{name}"
            try:
                made = self.client.create_experiment(name, artifact_location=files, tags=tags)
            except MlflowException as error:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise error
                made = found.experiment_id
            self._experiments = []
            return str(made)

    def require_active(self, experiment: str) -> None:
        """Raise `DeletedExperimentError` if somebody deleted an experiment, by its id."""
        require_active(self.client.get_experiment(experiment))

    def experiments(self) -> list[str]:
        """Return the ids of all experiments."""
        if not self._experiments:
            found = self.client.search_experiments()
            self._experiments = [str(item.experiment_id) for item in found]
        return self._experiments

    def flow_run(self, run: str, experiments: list[str] | None = None) -> Run | None:
        """Return the MLflow run of a flow run, if there is one."""
        return self._first_run({RUN_TAG: run, STAGE_TAG: ""}, experiments or self.experiments())

    def open_run(
        self, experiment: str, name: str, started: int | None, tags: dict[str, str]
    ) -> tuple[str, bool]:
        """Return the id of the run with our two tags, and whether it was there before.

        Args:
            experiment: MLflow's id of it.
            name: What people call the run.
            started: Milliseconds since 1970.
            tags: The tags of a new run, `sparring.run` and `sparring.stage` among them.
        """
        ours = {RUN_TAG: tags[RUN_TAG], STAGE_TAG: tags[STAGE_TAG]}
        found = self._first_run(ours, [experiment])
        if found is not None:
            return str(found.info.run_id), True
        made = self.client.create_run(experiment, start_time=started, tags=tags, run_name=name)
        own = str(made.info.run_id)
        first = self._first_run(ours, [experiment])
        if first is None or first.info.run_id == own:
            return own, False
        self.client.delete_run(own)
        return str(first.info.run_id), True

    def maker(self, stage: str) -> Page | None:
        """Return the page of the run that made the output of a stage, if MLflow knows one."""
        if stage not in self._makers:
            tags = where({STAGE_TAG: stage})
            for status in (" and attributes.status = 'FINISHED'", ""):
                order = ["attributes.start_time DESC"]
                found = self.client.search_runs(self.experiments(), tags + status, 1, 1, order)
                if found:
                    info = found[0].info
                    page = Page(info.run_name, run_address(info.experiment_id, info.run_id))
                    if not status:
                        return page
                    self._makers[stage] = page
                    break
        return self._makers.get(stage)

    def model(self, stage: str) -> LoggedModel | None:
        """Return the model that a stage made, if MLflow knows it."""
        if stage not in self._models:
            found = self._first_model(stage)
            if found is None:
                return None
            self._models[stage] = found
        return self._models[stage]

    def open_model(self, stage: str, make: Callable[[], LoggedModel]) -> tuple[LoggedModel, bool]:
        """Return the model that a stage made, or makes now, and whether it was there before."""
        if (found := self.model(stage)) is not None:
            return found, True
        made = make()
        first = self._first_model(stage)
        if first is not None and first.model_id != made.model_id:
            self.client.delete_logged_model(made.model_id)
            self._models[stage] = first
            return first, True
        self._models[stage] = made
        return made, False

    def look_again(self) -> None:
        """Notice the experiments that others made meanwhile."""
        self._experiments.clear()

    def forget(self) -> None:
        """Drop everything found so far: it is not there any more."""
        self.tags.clear()
        self._experiments.clear()
        self._makers.clear()
        self._models.clear()

    def _first_run(self, tags: dict[str, str], experiments: list[str]) -> Run | None:
        """Return the run with these tags whose id is the first."""
        found = self.client.search_runs(experiments, where(tags), max_results=10)
        return _first(found, lambda run: run.info.run_id)

    def _first_model(self, stage: str) -> LoggedModel | None:
        """Return the model with a stage's tag whose id is the first."""
        found = self.client.search_logged_models(
            self.experiments(), where({STAGE_TAG: stage}), max_results=10
        )
        return _first(found, lambda model: model.model_id)


def _first(found: Any, identity: Callable[[Thing], str]) -> Thing | None:
    """Return the one with the first id, so that all who look choose the same."""
    return min(found, key=identity, default=None)
