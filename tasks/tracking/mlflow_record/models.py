"""The models that stages made: a LoggedModel each, and a version of a registered model.

MLflow holds no weights. It holds where they are and what they must be, place and digest, and beside
that what loads them from there (`registered`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.tracking.mlflow_record.connection import as_global
from tasks.tracking.mlflow_record.registered.description import write_description
from tasks.tracking.mlflow_record.registry_client import RegistryClient
from tasks.tracking.mlflow_record.tags import RUN_TAG, STAGE_TAG, where

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

_VERSIONS_TAG = "mlflow.modelVersions"
_MADE_AT_USE = "sparring.noted"
_ALIAS_TAG = "sparring.alias."
_ROLE = {"reward_model": "reward-model"}
_TAKEN = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")
_LONGEST_EVIDENCE = 5000


class ModelRegistry:
    """The models of one MLflow."""

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry
        self._client = registry.client

    def begin(
        self, experiment: str, run: str, stage: str, event: Mapping[str, Any], flow_run: str
    ) -> LoggedModel:
        """Return the model, still pending, that a stage of a flow run is about to make."""
        tags = {
            STAGE_TAG: stage,
            RUN_TAG: flow_run,
            "sparring.kind": event["produces"],
            "sparring.title": event["name"],
        }

        def make() -> LoggedModel:
            return self._client.create_logged_model(
                experiment, _clean(event["name"]), run, tags, {"key": stage}, event["produces"]
            )

        return self._registry.open_model(stage, make)[0]

    def find_or_add(self, experiment: str, item: Mapping[str, Any]) -> LoggedModel | None:
        """Return the model that an input is; None when the input is no model.

        One that this MLflow does not know is noted now, without a run that made it.
        """
        found = self._registry.model(item["key"])
        if found is not None or not item.get("produces"):
            return found
        return self.note(experiment, item["key"], item)

    def note(self, experiment: str, stage: str, item: Mapping[str, Any]) -> LoggedModel:
        """Make a model known that was made where this MLflow could not see it.

        Args:
            experiment: In which it is shown.
            stage: Key of the stage that made it.
            item: `stage`, `label`, `digest`, `source`, `produces` and `pointer`, as far as known.
        """
        kind = item["produces"]
        name = f"{item.get('stage', kind)} · {item.get('label') or stage[:8]}"
        tags = {STAGE_TAG: stage, "sparring.kind": kind, "sparring.title": name}
        tags[_MADE_AT_USE] = "at its first use: the run that made it is not in this MLflow"

        def make() -> LoggedModel:
            return self._client.create_logged_model(
                experiment, _clean(name), None, tags, {"key": stage}, kind
            )

        model, was_there = self._registry.open_model(stage, make)
        if not was_there:
            self._point(model, item, item.get("source", ""))
        return model

    def finish(self, model: LoggedModel, run: str, output: Mapping[str, Any]) -> None:
        """Say that a model is there, where, and which run it came out of."""
        self._point(model, output, output["path"])
        if run:
            self.link_output(model, run)

    def in_role(self, model: LoggedModel, role: str, item: Mapping[str, Any]) -> LoggedModel:
        """Return a model as one of a kind, `item` as for `note`.

        A TQR is a policy and a reward model. MLflow calls a model in one way only, so that the
        second kind is a model of its own there, of the same weights.
        """
        if model.model_type == role:
            return model
        stage, title = model.tags[STAGE_TAG], model.tags["sparring.title"]
        tags = {**model.tags, STAGE_TAG: f"{stage}.{role}", "sparring.kind": role}
        name = f"{title} as {_ROLE.get(role, role)}"

        def make() -> LoggedModel:
            return self._client.create_logged_model(
                model.experiment_id, _clean(name), model.source_run_id, tags, {"key": stage}, role
            )

        other, was_there = self._registry.open_model(tags[STAGE_TAG], make)
        if not was_there or str(other.status) != "READY":
            self._point(other, item, item.get("path") or item.get("source", ""))
            if model.source_run_id:
                self.link_output(other, model.source_run_id)
        return other

    def link_output(self, model: LoggedModel, run: str) -> None:
        """Let a run show a model as its output, once."""
        from mlflow.entities import LoggedModelOutput

        outputs = self._client.get_run(run).outputs
        linked = {item.model_id for item in outputs.model_outputs} if outputs else set()
        if model.model_id not in linked:
            self._client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])

    def register(self, flow: str, model: LoggedModel, run: str, tags: Mapping[str, str]) -> str:
        """Return the version of a model among its flow's registered models, adding it once."""
        name = registered_name(flow, model.model_type or "policy")
        stage = model.tags[STAGE_TAG]
        if (found := self._version(name, stage)) is not None:
            return self._link(model.model_id, name, found)
        self._open_registered(name, flow, model.model_type or "policy")
        with as_global(self._registry.place):
            made = self._client.create_model_version(
                name, f"models:/{model.model_id}", run or None, tags={**tags, STAGE_TAG: stage},
                model_id=model.model_id,
            )  # fmt: skip
        first = self._version(name, stage) or made
        if int(first.version) < int(made.version):
            self._client.delete_model_version(name, str(made.version))
        return self._link(model.model_id, name, first)

    def move_alias(self, event: Mapping[str, Any], experiment: str) -> None:
        """Let an alias mean the models of an event, unless a later move was logged already."""
        flow, alias = event["flow"], _clean_alias(event["alias"])
        for kind, stage in event["models"].items():
            name = registered_name(flow, kind)
            moved, marker = str(event["time"]), f"{_ALIAS_TAG}{alias}.moved"
            version = ""
            if stage:
                item = _noted(event, kind)
                model = self._registry.model(stage) or self.note(experiment, stage, item)
                model = self.in_role(model, kind, item)
                version = self.register(flow, model, model.source_run_id or "", {})
            else:
                self._open_registered(name, flow, kind)
            if int(self._client.get_registered_model(name).tags.get(marker, "0")) > int(moved):
                continue
            if version:
                self._client.set_registered_model_alias(name, alias, version)
                evidence = json.dumps(event["evidence"], sort_keys=True)[:_LONGEST_EVIDENCE]
                self._client.set_model_version_tag(name, version, f"{_ALIAS_TAG}{alias}", evidence)
            else:
                self._client.delete_registered_model_alias(name, alias)
            self._client.set_registered_model_tag(name, marker, moved)

    def _point(self, model: LoggedModel, item: Mapping[str, Any], place: str) -> None:
        """Write down where a model's weights are and how they are loaded, and make it ready."""
        told = {"digest": item.get("digest"), "source": place, "bytes": item.get("size")}
        params = {name: str(value) for name, value in told.items() if value}
        tags = {f"sparring.{name}": value for name, value in params.items()}
        self._client.set_logged_model_tags(model.model_id, tags)
        if not self._client.get_logged_model(model.model_id).params.get("digest"):
            self._client.log_model_params(model.model_id, params)
        pointer, role = item.get("pointer") or {}, str(model.model_type)
        if role in pointer.get("roles", ()):
            with TemporaryDirectory() as made:
                write_description(Path(made), model.model_id, {**pointer, "role": role})
                self._client.log_model_artifacts(model.model_id, made)
        self._client.finalize_logged_model(model.model_id, "READY")

    def _version(self, name: str, stage: str) -> ModelVersion | None:
        """Return the first version of a registered model that came out of a stage."""
        search = f"name = '{name}' and {where({STAGE_TAG: stage})}"
        found = self._client.search_model_versions(search)
        return min(found, key=lambda item: int(item.version), default=None)

    def _open_registered(self, name: str, flow: str, kind: str) -> None:
        """Make a registered model unless there is one."""
        from mlflow.exceptions import MlflowException

        try:
            tags = {"sparring.flow": flow, "sparring.kind": kind}
            about = f"Every {kind.replace('_', ' ')} that the flow {flow} made, one version each."
            self._client.create_registered_model(name, tags, about)
        except MlflowException as error:
            if error.error_code not in _TAKEN:
                raise

    def _link(self, model: str, name: str, version: ModelVersion) -> str:
        """Let the model's own page show a version of it, which only MLflow's fluent API does."""
        number = str(version.version)
        tags = self._client.get_logged_model(model).tags
        linked = json.loads(tags.get(_VERSIONS_TAG, "[]"))
        if all((item["name"], str(item["version"])) != (name, number) for item in linked):
            linked.append({"name": name, "version": number})
            self._client.set_logged_model_tags(model, {_VERSIONS_TAG: json.dumps(linked)})
        return number


def _noted(event: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what the move of an alias says of its model of a kind, as `ModelRegistry.note`."""
    pointer = event.get("pointers", {}).get(kind, {})
    known = {"digest": pointer["digest"], "source": pointer["folder"]} if pointer else {}
    return {"produces": kind, "stage": kind, **known, "pointer": pointer}


def registered_name(flow: str, kind: str) -> str:
    """Name the registered model of a flow's models of a kind: `apo-reward-model`."""
    return f"{_clean(flow)}-{_ROLE.get(kind, kind)}"


def _clean(name: str) -> str:
    """Return a name with letters that a model may have."""
    return re.sub(r"[/:.%\"']", "-", name)


def _clean_alias(alias: str) -> str:
    """Return an alias with letters that one may have."""
    return re.sub(r"[^\w-]", "-", alias)
