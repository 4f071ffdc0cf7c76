"""Hub data sets and models at a commit: a run takes what the hub holds when the run begins.

A name alone means whatever is newest. Once it is a commit it is part of every key, so that a set
that moved is news, and a run that is resumed reads what it began with.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from flows.configs.recurring import RecurringConfig
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.script_sets import why_script
from tasks.models.base_policy import PolicyModelConfig, hub_name
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, one_line
from tasks.settings.parts import configs_in, with_parts

_Config = TypeVar("_Config", bound=FrozenConfig)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 30
_log = logging.getLogger("sparring.flows")


def pinned(config: _Config) -> _Config:
    """Return a configuration in which every hub name has a commit as its revision.

    Raises:
        ConfigError: The hub does not say which commit a name is at, and nothing is stored here.
    """
    found: _Config = _pinned(config)
    if isinstance(found, RecurringConfig):
        found = found.with_model_names(_pinned_name)
    return found


def hub_commits(config: FrozenConfig) -> dict[str, str]:
    """Return the commit of every pinned hub name of a configuration, by its address."""
    named = list(_hub_places(config))

    def note(name: str) -> str:
        named.append(("model", *hub_name(name)))
        return name

    if isinstance(config, RecurringConfig):
        config.with_model_names(note)
    folder = {"dataset": "datasets/", "model": ""}
    return {
        f"hf://{folder[kind]}{name}": revision
        for kind, name, revision in named
        if revision and _COMMIT.fullmatch(revision)
    }


def hub_commit(kind: Literal["dataset", "model"], name: str, revision: str | None) -> str:
    """Return the commit that a branch or tag of the hub is at; None is the main branch.

    Where the hub does not answer, it is the commit that is stored here, and that is said.

    Raises:
        ConfigError: The hub does not say, and nothing is stored here; or a set is a script.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_SECONDS)
    except Exception as error:  # the client raises a dozen kinds: offline, gated, no such name
        reason = one_line(error, 200)
        if stored := _stored_commit(kind, name, revision or "main"):
            _log.warning("%s is taken as stored here, at %s: %s", name, stored[:12], reason)
            return stored
        raise ConfigError(
            f"the {'data set' if kind == 'dataset' else 'model'} {name!r} cannot be loaded: the "
            f"hub does not say at which commit it is ({reason}); check the name and the network, "
            "give a commit as its `revision`, or a local `path`"
        ) from error
    files = (sibling.rfilename for sibling in getattr(info, "siblings", None) or ())
    if kind == "dataset" and (reason := why_script(name, revision, files)):
        raise ConfigError(reason)
    return str(info.sha)


def _pinned(value: Any) -> Any:
    """Return a part of a configuration with its hub names pinned; itself where it has none."""
    value = with_parts(value, _pinned)
    if isinstance(value, SourceConfig | PolicyModelConfig) and _is_on_hub(value):
        commit = hub_commit(_kind(value), str(value.hub), value.revision)
        if commit != value.revision:
            return value.model_copy(update={"revision": commit})
    return value


def _hub_places(config: FrozenConfig) -> Iterator[tuple[str, str, str | None]]:
    """Yield kind, name and revision of every hub name in a configuration."""
    for _, one in configs_in(config):
        if isinstance(one, SourceConfig | PolicyModelConfig) and _is_on_hub(one):
            yield _kind(one), str(one.hub), one.revision


def _is_on_hub(value: SourceConfig | PolicyModelConfig) -> bool:
    # `datasets` also takes a folder for a name.
    return value.hub is not None and not Path(value.hub).exists()


def _kind(value: SourceConfig | PolicyModelConfig) -> Literal["dataset", "model"]:
    return "dataset" if isinstance(value, SourceConfig) else "model"


def _pinned_name(name: str) -> str:
    """Return a model's name as `NAME@COMMIT`; a folder's path stays."""
    hub, revision = hub_name(name)
    return f"{hub}@{hub_commit('model', hub, revision)}" if hub else name


def _stored_commit(kind: str, name: str, revision: str) -> str:
    """Return the commit that the hub's cache on this machine has for a branch or tag, or ""."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=name, repo_type=kind)
    path = Path(constants.HF_HUB_CACHE) / folder / "refs" / revision
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
