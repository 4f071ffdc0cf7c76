"""Events of runs and stages, written to the spool, which brings them to MLflow."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from typing import Any

from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.call import MODEL_STAGES, StageCall
from tasks.stages.key import stage_title
from tasks.stages.manifest import Manifest, artifact_folder, environment, load_manifest
from tasks.stages.runs.context import RunContext, StageRecord
from tasks.stages.runs.model_pointer import model_pointer
from tasks.storage.digests import sha256_json
from tasks.storage.errors import CorruptError

_STATUS = {
    "completed": "FINISHED",
    "waiting": "SCHEDULED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_LONGEST_ERROR = 500
_HEADLINE = re.compile(r"kl|gap_closed|score/.+|win_rate/start/.+|test/(accuracy|ece|log_loss)")
"""What a flow run's row shows of the evaluations of its models."""
_MOST_FIGURES = 40
_ALWAYS_SHOWN = frozenset({"seed", "method", "objective", "learning_rate", "learning_rates"})


def log_stage_start(run: RunContext, call: StageCall, record: StageRecord) -> None:
    """Record in the spool that an attempt at a stage begins."""
    if run.spool is None:
        return
    params = {"seed": call.seed, "version": call.spec.version, **call.plain}
    params |= call.config if isinstance(call.config, dict) else {"config": call.config}
    params = without_budgets(params)
    tags = {
        "sparring.stage_name": call.spec.name,
        "sparring.label": call.label,
        "sparring.attempt": str(record.attempt),
        "sparring.seed": "" if call.seed is None else str(call.seed),
        "sparring.config_digest": sha256_json(call.config),
        **environment_tags(),
        **{f"sparring.input.{role}": item.digest for role, item in call.inputs.items()},
    }
    run.spool.stage_started(
        call.key,
        name=call.title,
        attempt=record.attempt,
        params=params,
        tags={name: value for name, value in tags.items() if value},
        inputs=[_input(run, role, artifact) for role, artifact in call.inputs.items()],
        produces=call.spec.produces,
    )


def log_stage_end(
    run: RunContext, call: StageCall, record: StageRecord, manifest: Manifest | None = None
) -> None:
    """Record in the spool how a call ended, with the manifest of its output, if there is one."""
    if run.spool is None:
        return
    output = _output(run, call, manifest) if manifest is not None else None
    if record.state == "cached":
        run.spool.stage_skipped(record.key, name=record.title, output=output)
        return
    error = record.error[:_LONGEST_ERROR]
    tags = {
        "sparring.output.output": record.digest,
        "sparring.error": error,
        "sparring.state": record.state,
    }
    kept = {name: value for name, value in tags.items() if value}
    run.spool.stage_finished(record.key, _STATUS[record.state], tags=kept, output=output)


def log_result(run: RunContext, result: Artifact, headline: str) -> None:
    """Record in the spool what a flow run came to, whoever computed it.

    The models that it offers have the same names in every run, so that runs compare; one that
    offers none shows the figures of its report.

    Args:
        run: The run, which has ended well.
        result: What the flow returned.
        headline: What the report says first.
    """
    if run.spool is None:
        return
    offer = run.offer
    figures = {
        f"{role}/{name}": value
        for role in (offer.models if offer else ())
        if (measured := offer and offer.basis.get(f"{role.replace('_', ' ')} evaluation"))
        for name, value in measured.metrics.items()
        if _HEADLINE.fullmatch(name)
    } or {f"result/{name}": value for name, value in result.metrics.items()}
    read = {
        artifact.digest: _input(run, role, artifact)
        for call in run.calls.values()
        for role, artifact in call.inputs.items()
        if artifact.stage == EXTERNAL
    }
    made = [_input(run, role, one) for role, one in (offer.models if offer else {}).items()]
    metrics = dict(list(figures.items())[:_MOST_FIGURES])
    run.spool.result(metrics, models=made, datasets=list(read.values()), headline=headline)


def shown_params(config: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that a table of runs has columns for.

    Args:
        config: All of it, without budgets.
        changed: The part that differs from its defaults.

    Example:
        >>> shown_params({"a": 1, "b": {"c": 2, "d": 3}, "seed": 0}, {"b": {"d": 3}})
        {'b': {'d': 3}, 'seed': 0}
    """
    shown: dict[str, Any] = {}
    for name, value in config.items():
        inner = changed.get(name)
        if isinstance(value, Mapping) and value:
            if kept := shown_params(value, inner if isinstance(inner, Mapping) else {}):
                shown[name] = kept
        elif name in changed or name in _ALWAYS_SHOWN:
            shown[name] = value
    return shown


def run_tags(flow: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Return what names a flow run in MLflow besides its id."""
    tags = {
        "sparring.flow": flow,
        "sparring.config_digest": sha256_json(without_budgets(config)),
        "sparring.seed": str(config.get("seed", "")),
        **environment_tags(),
    }
    return {name: value for name, value in tags.items() if value}


def without_budgets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without its budgets: they may be raised, and MLflow's params may not.

    Example:
        >>> without_budgets({"budget": {"hours": 1}, "gold": {"budget": {}, "dev_share": 0.1}})
        {'gold': {'dev_share': 0.1}}
    """
    return {
        name: without_budgets(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name != "budget"
    }


def prefect_tags(flow_run_id: str) -> dict[str, str]:
    """Return the tags that lead from MLflow to a flow run's page in Prefect."""
    tags = {"sparring.prefect.flow_run": flow_run_id}
    api = re.sub(r"/api/?$", "", os.environ.get("PREFECT_API_URL", ""))
    site = re.sub(r"//[^/@]*@", "//", os.environ.get("PREFECT_UI_URL", "") or api).rstrip("/")
    if site:
        tags["sparring.prefect.url"] = f"{site}/runs/flow-run/{flow_run_id}"
    return tags


def environment_tags() -> dict[str, str]:
    """Return the code and the libraries of this process as tags."""
    here = environment()
    libraries = ", ".join(f"{name} {number}" for name, number in here["libraries"].items())
    return {
        "mlflow.source.git.commit": here["git_commit"],
        "sparring.code": here["code"],
        "sparring.python": platform.python_version(),
        "sparring.platform": platform.platform(),
        "sparring.libraries": libraries,
    }


def _input(run: RunContext, role: str, artifact: Artifact) -> dict[str, Any]:
    """Say where an input comes from."""
    told: dict[str, Any] = {
        "role": role,
        "digest": artifact.digest,
        "stage": artifact.stage,
        "key": artifact.key,
        "part": artifact.subpath,
        "label": artifact.label,
        "source": _source(run, artifact.stage, artifact.digest, artifact.subpath)
        or str(artifact.path),
    }
    if produces := _produced(run, artifact):
        told["produces"] = produces
        told["pointer"] = _pointer(run, artifact, artifact.label, produces)
    return told


def _output(run: RunContext, call: StageCall, manifest: Manifest) -> dict[str, Any]:
    """Say what a stage left and where."""
    folder = artifact_folder(run.home, manifest.stage, manifest.key)
    label, produces = call.label or manifest.label, call.spec.produces
    made = {"pointer": _pointer(run, manifest, label, produces)} if produces else {}
    return {
        **made,
        "digest": manifest.digest,
        "key": manifest.key,
        "stage": manifest.stage,
        "label": label,
        "path": _source(run, manifest.stage, manifest.digest) or str(folder),
        "size": manifest.size,
        "produces": produces,
    }


def _pointer(
    run: RunContext, made: Artifact | Manifest, label: str, produces: str
) -> dict[str, Any]:
    """Say how a model is found again."""
    title, reference = stage_title(made.stage, label), f"{made.stage}/{made.key}"
    return model_pointer(run.home, run.remote, reference, made.digest, title, produces)


def _source(run: RunContext, stage: str, digest: str, part: str = "") -> str:
    """Return where the remote keeps something; "" without a remote, or for a part of a folder."""
    is_inner_folder = part and digest.endswith(".dir")
    if run.remote is None or stage == EXTERNAL or is_inner_folder:
        return ""
    return f"{run.remote.url}/store/files/md5/{digest[:2]}/{digest[2:]}"


def _produced(run: RunContext, artifact: Artifact) -> str:
    """Return which kind of model an input is; "" for none, or when nobody here knows."""
    if artifact.stage == EXTERNAL:
        return ""
    if artifact.stage in MODEL_STAGES:
        return MODEL_STAGES[artifact.stage]
    try:
        manifest = load_manifest(run.home, artifact.stage, artifact.key)
    except CorruptError:
        return ""
    return str(manifest.provenance.get("produces") or "") if manifest else ""
