"""What can be said of a configuration's data and models before a run: here, on the hub, or never.

Each source is opened and its first record read; each model's config and tokenizer are read. What
lies on the hub needs the network, unless it is stored here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.configs.recurring import ModelSource, RecurringConfig
from flows.runs.preflight import check_model, is_made, named_sources
from flows.steps.hub_commits import hub_commit
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import detect_format
from tasks.models.source_checks import looks_local
from tasks.settings.errors import ConfigError, SparringError, require_path

_NEEDS_NETWORK = "needs the network: "


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What was checked."""
    ok: bool
    """Whether nothing needs to be done."""
    detail: str
    """What was found, and what to do if it is not well."""


def examine_config(config: RecurringConfig) -> list[Finding]:
    """Look at everything that a run would read: its sources, files and models.

    What a run makes itself, its playground or a built architecture, is not looked for.
    """
    sources = {source.model_dump_json(): source for source in named_sources(config)}
    models = {model.source: model for model in config.named_models()}
    files = (path for path in config.own_paths() if path and path not in models)
    return [
        *map(_source, sources.values()),
        *map(_model, models.values()),
        *(_file(path) for path in files if not is_made(config, path)),
    ]


def _source(source: SourceConfig) -> Finding:
    subject = f"data {source.label}, {source.split}" if source.hub else f"data {source.label}"
    needs = _NEEDS_NETWORK if source.hub and not Path(source.hub).exists() else ""
    try:
        if needs:  # without an answer `datasets` would ask again for half a minute
            commit = hub_commit("dataset", str(source.hub), source.revision)
            source = source.model_copy(update={"revision": commit})
        return Finding(subject, True, f"{needs}read as {detect_format(source)}")
    except SparringError as error:
        return Finding(subject, False, f"{needs}{error}")


def _model(model: ModelSource) -> Finding:
    subject = f"model {model.source}"
    needs = "" if looks_local(model.source) or Path(model.source).exists() else _NEEDS_NETWORK
    try:
        if needs:
            model = model._replace(revision=hub_commit("model", model.source, model.revision))
        check_model(model)
    except ConfigError as error:
        return Finding(subject, False, f"{needs}{error}")
    return Finding(subject, True, f"{needs}its config and tokenizer can be read")


def _file(path: str) -> Finding:
    try:
        require_path(path)
    except ConfigError as error:
        return Finding(f"file {path}", False, str(error))
    return Finding(f"file {path}", True, "is there")
