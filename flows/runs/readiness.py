"""What can be said of a configuration's data and models before a run: here, on the hub, or never.

Each source is opened and its first record read; each model's config and tokenizer are read; each
paid server is asked which models it has, which costs nothing. What lies on the hub needs the
network, unless it is stored here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.configs.recurring import ModelSource, RecurringConfig
from flows.runs.preflight import check_model, is_made, named_sources
from flows.steps.hub_commits import hub_commit
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import detect_format
from tasks.endpoints.answers import CallFailed, Outcome, model_names
from tasks.endpoints.client import EndpointClient, connection_to, stopping_error
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Charge, dollars_text
from tasks.models.source_checks import looks_local
from tasks.settings.errors import ConfigError, SparringError, did_you_mean, require_path
from tasks.settings.parts import configs_in
from tasks.storage.home import current_home
from tasks.tracking.remote.opening import open_remote

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
    """Look at everything that a run would read, and at the servers that it would pay.

    What a run makes itself, its playground or a built architecture, is not looked for.
    """
    sources = {source.model_dump_json(): source for source in named_sources(config)}
    models = {model.source: model for model in config.named_models()}
    files = (path for path in config.own_paths() if path and path not in models)
    return [
        *map(_source, sources.values()),
        *map(_model, models.values()),
        *(_file(path) for path in files if not is_made(config, path)),
        *(
            finding
            for key, part in configs_in(config)
            if isinstance(part, EndpointConfig)
            for finding in _endpoint(key, part)
        ),
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


def _endpoint(key: str, endpoint: EndpointConfig) -> Iterator[Finding]:
    """Look at a paid server: there, its key taken, its model known, its price, what is left."""
    price, budget = endpoint.price, endpoint.budget
    costs = "declared free"
    if not price.is_free:
        read, written = dollars_text(price.prompt), dollars_text(price.completion)
        costs = f"{read} read and {written} written per million tokens, as declared"
    yield Finding(f"{key} price", True, costs)
    spent = Ledger(current_home().ledger, open_remote()).spent_on(endpoint.host, endpoint.model)
    most = max(spent.values(), key=lambda one: (one.dollars, one.tokens), default=Charge())
    said = f"{budget.text or 'no cap'} for each piece of work; the one that paid it most "
    said += f"has paid {dollars_text(most.dollars)} and {most.tokens:,} tokens"
    # One that has nothing left stops again at once, unless its answers are all known.
    yield Finding(f"{key} budget", budget.admits(most, price.charge(1, 1)), said)
    try:
        endpoint.key_value()
    except ConfigError as error:
        yield Finding(f"{key} key", False, str(error))
        return
    yield _asked(key, endpoint)


def _asked(key: str, endpoint: EndpointConfig) -> Finding:
    """Ask a server which models it has; the key is shown nowhere."""
    who = "its key is accepted" if endpoint.api_key else "it asks for no key"
    try:
        with EndpointClient(connection_to(endpoint), endpoint.patience) as client:
            names = model_names(client.models())
    except CallFailed as error:
        if error.status in (404, 405) or error.outcome is Outcome.other_schema:
            detail = "it answers, and lists no models: key and model cannot be checked for free"
            return Finding(f"{key} server", True, detail)
        return Finding(f"{key} server", False, str(stopping_error(error) or error))
    if endpoint.model in names:
        return Finding(f"{key} server", True, f"it answers, {who}, and it has {endpoint.model}")
    known = did_you_mean(endpoint.model, names)
    return Finding(f"{key} server", False, f"{who}, and it has no model {endpoint.model!r}{known}")


def _file(path: str) -> Finding:
    try:
        require_path(path)
    except ConfigError as error:
        return Finding(f"file {path}", False, str(error))
    return Finding(f"file {path}", True, "is there")
