"""Writes the events of one flow run to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tasks.storage.digests import canonical_json
from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.mlflow_record.inputs import log_inputs, log_result
from tasks.tracking.mlflow_record.links import link_page, logged_pages, model_address, run_address
from tasks.tracking.mlflow_record.metrics import MetricSubject
from tasks.tracking.mlflow_record.models import ModelRegistry
from tasks.tracking.mlflow_record.notes import add_to_note, stage_note, write_flow_note
from tasks.tracking.mlflow_record.params import LONGEST_KEY, clean_name, clean_tags, flatten
from tasks.tracking.mlflow_record.registry_client import RegistryClient, UnknownRunError
from tasks.tracking.mlflow_record.tags import (
    FLOW_TAG,
    MODEL_TAG,
    NOTE_TAG,
    OUTPUT,
    RUN_TAG,
    SKIPPED_TAG,
    STAGE_TAG,
    STATE_TAG,
    STOPPED_TAG,
    USER_TAG,
    Page,
)
from tasks.tracking.spool import Event


class RunWriter:
    """Writes the events of one flow run, but for its metrics; the cursor notes how far it is."""

    def __init__(
        self, registry: RegistryClient, run: str, cursor: Cursor, spool_root: Path
    ) -> None:
        self._registry, self._client = registry, registry.client
        self._run, self._cursor = run, cursor
        self._root = spool_root
        self._models = ModelRegistry(registry)
        self._made: set[str] = set()
        self._users: dict[str, dict[str, str]] = {}
        self._ended: dict[str, dict[str, str]] = {}

    def is_known(self) -> bool:
        """Whether MLflow still has the run that the cursor knows."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_run(next(iter(self._cursor.runs.values())))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def log(self, event: Event) -> None:
        """Log one event that is not of metrics; an unknown kind is from a newer Sparring.

        Raises:
            UnknownRunError: The flow's run is another home's, and not in MLflow yet.
        """
        known = {
            "run_started": self._run_started,
            "run_finished": self._run_finished,
            "stage_started": self._stage_started,
            "stage_skipped": self._stage_skipped,
            "stage_finished": self._stage_finished,
            "tags": self._tags,
            "files": self._files,
            "alias_moved": self._alias_moved,
            "result": self._result,
        }
        if event["event"] in known:
            known[event["event"]](event)

    def run_id(self, stage: str, event: Event) -> str:
        """Return MLflow's id of a stage's run, or with "" of the flow's: known, found, or new."""
        cursor = self._cursor
        if stage in cursor.runs:
            return cursor.runs[stage]
        tags = {RUN_TAG: self._run, STAGE_TAG: stage, "mlflow.source.name": "sparring"}
        if not stage:
            return self._flow_run_id(tags, event)
        tags["mlflow.parentRunId"] = self.run_id("", event)
        name = str(event.get("name", stage[:16]))
        found, was_there = self._registry.open_run(cursor.experiment, name, event["time"], tags)
        if not was_there:
            self._made.add(stage)
        elif stage not in cursor.shared:
            cursor.shared.append(stage)
        cursor.runs[stage] = found
        return found

    def _flow_run_id(self, tags: dict[str, str], event: Event) -> str:
        """Return MLflow's id of the flow's run; only the home that began it makes it."""
        cursor = self._cursor
        if not cursor.flow:
            found = self._registry.flow_run(self._run)
            if found is None:
                raise UnknownRunError(f"{self._run}: its flow has not logged it to MLflow yet")
            cursor.experiment = str(found.info.experiment_id)
            cursor.runs[""] = str(found.info.run_id)
            return cursor.runs[""]
        if not cursor.experiment:
            cursor.experiment = self._registry.experiment(event.get("experiment") or cursor.flow)
        tags[FLOW_TAG] = cursor.flow
        run, _ = self._registry.open_run(cursor.experiment, self._run, event["time"], tags)
        cursor.runs[""] = run
        return run

    def _run_started(self, event: Event) -> None:
        self._cursor.flow = event["flow"]
        self._start("", event)

    def _run_finished(self, event: Event) -> None:
        run = self.run_id("", event)
        write_flow_note(self._registry, run, self._cursor)
        self._client.set_tag(run, STATE_TAG, event.get("state", ""))
        where = event.get("where", "")
        if where or STOPPED_TAG in self._client.get_run(run).data.tags:  # of an attempt before
            self._client.set_tag(run, STOPPED_TAG, where)
        self._client.set_terminated(run, event["status"], end_time=event["time"])

    def _stage_started(self, event: Event) -> None:
        stage, cursor = event["stage"], self._cursor
        cursor.begin_attempt(stage, event["attempt"])
        run, inputs = self.run_id(stage, event), event.get("inputs", [])
        about, links = log_inputs(self._registry, self._models, cursor.experiment, run, inputs)
        if event.get("produces"):
            model = self._models.begin(cursor.experiment, run, stage, event, self._run)
            about = MetricSubject(model.model_id, about.datasets)
        cursor.subjects[stage] = asdict(about)
        self._start(stage, event, links)
        own = str(Page(event["name"], run_address(cursor.experiment, run)))
        for key in {item["key"] for item in inputs if item["key"]}:
            self._users.setdefault(key, {})[f"{USER_TAG}{stage[:16]}.{self._run}"] = own

    def log_notes(self) -> None:
        """Let runs say how they ended and who uses what they made; one that was deleted cannot."""
        from mlflow.exceptions import MlflowException

        for stage, users in self._users.items():
            if maker := self._registry.maker(stage):
                self._ended.setdefault(maker.run, {}).update(users)
        for run, tags in self._ended.items():
            try:
                add_to_note(self._registry, run, clean_tags(tags))
            except MlflowException as error:
                if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                    raise
        self._users.clear()
        self._ended.clear()

    def _stage_skipped(self, event: Event) -> None:
        stage = event["stage"]
        flow_run = self.run_id("", event)
        self._cursor.skipped[stage] = event["name"]
        self._client.set_tag(flow_run, SKIPPED_TAG, str(len(self._cursor.skipped)))
        if stage in self._cursor.runs:
            # It was killed after its commit, before it could say so.
            self._close_stage(self._cursor.runs[stage], event, "FINISHED", {})
        elif event.get("output", {}).get("produces") and (model := self._registry.model(stage)):
            if str(model.status) != "READY":  # the same, in another run
                run = model.source_run_id or ""
                self._models.finish(model, run, event["output"])

    def _stage_finished(self, event: Event) -> None:
        run = self.run_id(event["stage"], event)
        self._close_stage(run, event, event["status"], event.get("tags", {}))

    def _close_stage(self, run: str, event: Event, status: str, tags: Mapping[str, str]) -> None:
        """End a stage's run, with its model where one came out."""
        stage, output = event["stage"], event.get("output") or {}
        added = dict(tags)
        if status == "FINISHED" and output:
            added["sparring.output.output"] = output["digest"]
        if status == "FINISHED" and output.get("produces"):
            started = {"name": event.get("name", stage[:16]), "produces": output["produces"]}
            experiment = self._cursor.experiment
            model = self._models.begin(experiment, run, stage, started, self._run)
            self._models.finish(model, run, output)
            names = {
                RUN_TAG: self._run,
                "sparring.digest": output["digest"],
                "sparring.label": output.get("label", ""),
                "sparring.source": output["path"],
            }
            for role in output.get("pointer", {}).get("roles", [output["produces"]]):
                known_as = self._models.in_role(model, role, output)
                version = self._models.register(self._flow(), known_as, run, names)
            added["sparring.output.version"] = version
            address = model_address(str(model.experiment_id), model.model_id)
            added[MODEL_TAG] = str(Page(str(model.name), address))
        self._ended.setdefault(run, {}).update(added)
        self._client.set_terminated(run, status, end_time=event["time"])

    def _flow(self) -> str:
        """Return the flow's name, which a home that only helps reads from MLflow."""
        if self._cursor.flow:
            return self._cursor.flow
        tags = self._client.get_run(self._cursor.runs[""]).data.tags
        return str(tags.get(FLOW_TAG) or "sparring")

    def _tags(self, event: Event) -> None:
        run = self.run_id(event["stage"] or "", event)
        for name, value in clean_tags(event["tags"]).items():
            self._client.set_tag(run, name, value)

    def _files(self, event: Event) -> None:
        run = self.run_id(event["stage"] or "", event)
        for path in map(Path, event["paths"]):
            if not path.exists():
                continue
            if event.get("links") and path.suffix == ".html":
                page = link_page(
                    path.read_text(encoding="utf-8"), self._address, self._registry.place.pages
                )
                self._client.log_text(run, page, f"{OUTPUT}/{path.name}")
            else:
                self._client.log_artifact(run, str(path), OUTPUT)

    def _address(self, kind: str, name: str) -> str | None:
        """Return the page of a stage or a flow run, from what this home logged or from MLflow."""
        if kind == "stage" and name in self._cursor.runs:
            return run_address(self._cursor.experiment, self._cursor.runs[name])
        if address := logged_pages(self._root, self._registry.place.uri).get((kind, name)):
            return address
        if kind == "run":
            found = self._registry.flow_run(name)
            return run_address(found.info.experiment_id, found.info.run_id) if found else None
        maker = self._registry.maker(name)
        return maker.address if maker else None

    def _result(self, event: Event) -> None:
        run = self.run_id("", event)
        log_result(self._registry, self._models, self._cursor.experiment, run, event)

    def _alias_moved(self, event: Event) -> None:
        experiment = self._cursor.experiment or self._registry.experiment(event["flow"])
        self._models.move_alias(event, experiment)

    def _start(self, stage: str, event: Event, more: Mapping[str, str] | None = None) -> None:
        """Begin, or begin again, the MLflow run of a flow run or of a stage."""
        from mlflow.entities import Param, RunTag

        run, is_new = self.run_id(stage, event), stage in self._made
        tags = clean_tags({**event.get("tags", {}), **(more or {})})
        if stage and is_new:
            names = {RUN_TAG: self._run, STAGE_TAG: stage, **tags}
            tags[NOTE_TAG] = stage_note(names)
            self._registry.tags[run] = names
        flat = flatten(event.get("shown") or event["params"])
        params = [Param(clean_name(key)[:LONGEST_KEY], value) for key, value in flat.items()]
        pairs = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(run, tags=pairs, params=params)
        if not is_new:
            self._client.update_run(run, status="RUNNING")
        self._made.discard(stage)
        config = canonical_json(event["params"]).decode()
        self._client.log_text(run, config, "config.json")
