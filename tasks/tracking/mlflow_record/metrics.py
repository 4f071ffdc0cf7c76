"""A stage's metrics as points against its model and its data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.processes.machine_metrics import PREFIX as MACHINE
from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.mlflow_record.params import clean_name
from tasks.tracking.spool import Event

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_MOST_METRICS = 1000
_WHOLE = "final/"


@dataclass(frozen=True)
class MetricSubject:
    """What the metrics of a stage are about."""

    model: str = ""
    """MLflow's id of the model that was made, or else measured."""
    datasets: dict[str, Sequence[str]] = field(default_factory=dict)
    """Name and digest of each data set that was read, by role."""

    def dataset_of(self, metric: str) -> Sequence[str]:
        """Return name and digest of the data set that a metric was measured on.

        `human/accuracy` belongs to the role `pairs.human`; what names no role, to the first.
        """
        words = set(metric.split("/"))
        for role, dataset in self.datasets.items():
            if role in words or role.rpartition(".")[2] in words:
                return dataset
        return next(iter(self.datasets.values()), ("", ""))


class MetricWriter:
    """Logs metric points, each step once."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], set[int]] = {}

    def points(self, cursor: Cursor, event: Event, run: str) -> list[Metric]:
        """Return an event's points, without the steps an earlier attempt logged."""
        from mlflow.entities import Metric

        stage = event["stage"]
        about = MetricSubject(**cursor.subjects.get(stage, {}))
        points = []
        for name, value in event["values"].items():
            step = event["step"] or 0
            if event["step"] is not None:
                is_new = cursor.is_new_step(stage, name, step)
                if is_new and stage in cursor.shared:
                    is_new = step not in self._steps_logged_elsewhere(run, clean_name(name))
                if not is_new:
                    continue
            elif name in cursor.steps.get(stage, {}):
                # A mean over the whole stage is no point of the curve.
                name = f"{_WHOLE}{name}"
            # Of a machine, and so of no model and no data.
            model = "" if name.startswith(MACHINE) else about.model
            dataset, digest = about.dataset_of(name) if model else ("", "")
            points.append(
                Metric(
                    clean_name(name), float(value), event["time"], step,
                    model_id=model or None, dataset_name=dataset or None,
                    dataset_digest=digest or None, run_id=run if model else None,
                )
            )  # fmt: skip
        return points

    def log(self, points: Mapping[str, list[Metric]]) -> None:
        """Log points by MLflow's id of the run."""
        for run, metrics in points.items():
            for begin in range(0, len(metrics), _MOST_METRICS):
                self._client.log_batch(run, metrics=metrics[begin : begin + _MOST_METRICS])

    def _steps_logged_elsewhere(self, run: str, metric: str) -> set[int]:
        """Return the steps that another home logged of a run that was not made here."""
        if (run, metric) not in self._known:
            history = self._client.get_metric_history(run, metric)
            self._known[run, metric] = {point.step for point in history}
        return self._known[run, metric]
