"""Artifacts named in a configuration or a record: `STAGE/KEY`, on this machine or on the remote."""

from __future__ import annotations

import re

from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact, committed_artifact
from tasks.stages.manifest import Manifest, damaged_files, load_manifest
from tasks.stages.remote.layout import check_layout
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.remote.opening import open_remote

_REFERENCE = re.compile(r"([a-z][a-z0-9_]*)/([0-9a-f]{64})")


def shared_records(home: Home, remote: Remote | None = None) -> Remote:
    """Return where small records lie that every machine must agree on: the remote, or the home."""
    remote = remote or open_remote()
    if remote is None:
        return FolderRemote(home.ensure().root)
    check_layout(remote)
    return remote


def reference_of(artifact: Artifact) -> str:
    """Return `STAGE/KEY` of a stage's output."""
    return f"{artifact.stage}/{artifact.key}"


def referenced_artifact(home: Home, reference: str, label: str, *, said_by: str) -> Artifact:
    """Return the artifact that `STAGE/KEY` means; its files may still lie on the remote.

    Args:
        home: The home that is looked in before the remote.
        reference: `STAGE/KEY` with the whole key.
        label: What people will call the artifact.
        said_by: What names the artifact, for messages: `start.policy`, `champion of apo`.

    Raises:
        ConfigError: It is no reference, or there is no such artifact.
    """
    matched = _REFERENCE.fullmatch(reference)
    if matched is None:
        raise ConfigError(
            f"{said_by} is {reference!r}; expected STAGE/KEY with the whole key, as "
            "`sparring ls artifacts --json` shows it"
        )
    stage, key = matched.groups()
    manifest = load_manifest(home, stage, key) or _fetched(home, stage, key)
    if manifest is None:
        where = open_remote()
        also = f" and not on {where.url}" if where else ", and no remote is set (SPARRING_REMOTE)"
        raise ConfigError(
            f"{said_by} is {stage}/{key[:16]}…, which is not in {home.root}{also}: name another "
            "model, or bring back the store that has it"
        )
    artifact = committed_artifact(home, manifest, label)
    lost = [] if open_remote() else damaged_files(home, manifest)
    if lost:
        raise ConfigError(
            f"{said_by} is {stage}/{key[:16]}…, whose files are damaged: {lost[0]} in "
            f"{artifact.path}; name another model, or bring back the store that has it"
        )
    return artifact


def _fetched(home: Home, stage: str, key: str) -> Manifest | None:
    """Ask the remote for a manifest that is not here."""
    remote = open_remote()
    if remote is None:
        return None
    from tasks.stages.remote.transfer import fetch_manifest

    return fetch_manifest(home, remote, stage, key)
