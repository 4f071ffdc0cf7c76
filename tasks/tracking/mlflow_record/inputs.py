"""The inputs of a stage: data sets by source and digest, models by their pages.

A flow's run has the data that it rests on too, and the models that it came to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.tracking.mlflow_record.links import model_address
from tasks.tracking.mlflow_record.metrics import MetricSubject
from tasks.tracking.mlflow_record.models import ModelRegistry
from tasks.tracking.mlflow_record.params import clean_name, clean_tags
from tasks.tracking.mlflow_record.registry_client import RegistryClient
from tasks.tracking.mlflow_record.tags import FROM_TAG, HEADLINE_TAG, RESULT_TAG, Page

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_LONGEST_CONTEXT = 500
_LONGEST_NAME = 500

Input = Mapping[str, Any]
"""As `Spool.stage_started` takes it."""


def log_inputs(
    registry: RegistryClient,
    models: ModelRegistry,
    experiment: str,
    run: str,
    inputs: Sequence[Input],
) -> tuple[MetricSubject, dict[str, str]]:
    """Link what a stage reads to its run.

    Returns:
        What its metrics are about (a model only where one is read), and tags that name the runs
        which made the inputs.
    """
    from mlflow.entities import LoggedModelInput

    read: dict[str, str] = {}
    data: list[Input] = []
    makers = {}
    for item in inputs:
        model = models.find_or_add(experiment, item) if item["key"] else None
        if model is None:
            data.append(item)
        else:
            read[item["role"]] = model.model_id
        maker = registry.maker(item["key"]) if item["key"] else None
        if maker is not None:
            makers[f"{FROM_TAG}{item['role']}"] = str(maker)
    links = [LoggedModelInput(model) for model in dict.fromkeys(read.values())]
    if data or links:
        registry.client.log_inputs(run, _dataset_inputs(data), links)
    measured = next(iter(read.values()), "")
    datasets: dict[str, Sequence[str]] = {
        item["role"]: (dataset_name(item), item["digest"]) for item in data
    }
    return MetricSubject(measured, datasets), makers


def log_result(
    registry: RegistryClient, models: ModelRegistry, experiment: str, run: str, event: Input
) -> None:
    """Write what a flow run came to: figures, models, data, and its headline."""
    from mlflow.entities import Metric, RunTag

    figures = [
        Metric(clean_name(name), value, event["time"], 0) for name, value in event["values"].items()
    ]
    tags = {HEADLINE_TAG: event["headline"]}
    for item in event["models"]:
        model = models.find_or_add(experiment, item)
        if model is not None:
            model = models.in_role(model, item["role"], item)
            models.link_output(model, run)
            address = model_address(str(model.experiment_id), model.model_id)
            tags[f"{RESULT_TAG}{item['role']}"] = str(Page(str(model.name), address))
    if event["datasets"]:
        registry.client.log_inputs(run, _dataset_inputs(event["datasets"]))
    told = [RunTag(name, value) for name, value in clean_tags(tags).items() if value]
    registry.client.log_batch(run, metrics=figures, tags=told)


def dataset_name(item: Input) -> str:
    """Name a data set for people: `prepare_data / train`."""
    if item["stage"] == "external":
        return (item["label"] or item["role"])[:_LONGEST_NAME]
    title = f"{item['stage']} · {item['label']}" if item["label"] else item["stage"]
    name = f"{title} / {item['part']}" if item["part"] else title
    return name[:_LONGEST_NAME]


def _dataset_inputs(items: Sequence[Input]) -> list[DatasetInput]:
    """Describe data sets without reading a row of them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow keeps one link from a data set to a run, whatever roles it has there.
    roles: dict[tuple[str, str], list[Input]] = {}
    for item in items:
        roles.setdefault((dataset_name(item), item["digest"]), []).append(item)
    described = []
    for (name, digest), same in roles.items():
        kind, source = _source(same[0])
        profile: dict[str, Any] = {"digest": digest, "made by": same[0]["stage"]}
        profile |= {name: same[0][name] for name in ("key", "part") if same[0][name]}
        context = ", ".join(item["role"] for item in same)[:_LONGEST_CONTEXT]
        described.append(
            DatasetInput(
                Dataset(name, digest, kind, json.dumps(source), profile=json.dumps(profile)),
                [InputTag("mlflow.data.context", context)],
            )
        )
    return described


def _source(item: Input) -> tuple[str, dict[str, str]]:
    """Return MLflow's kind of source, and where it is."""
    place = item["source"]
    return ("s3" if place.startswith("s3://") else "local"), {"uri": place}
