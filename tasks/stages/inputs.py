"""Brings what a stage reads to the machine where its body runs."""

from __future__ import annotations

from collections.abc import Callable

from tasks.stages.artifact import EXTERNAL, Artifact, ArtifactLostError
from tasks.stages.call import StageCall
from tasks.stages.manifest import load_manifest
from tasks.stages.remote.known_copies import forget_pushed
from tasks.stages.remote.layout import external_name, manifest_name
from tasks.stages.remote.transfer import fetch_artifact, push_artifact
from tasks.stages.remote.user_files import push_external
from tasks.stages.runs.context import RunContext
from tasks.tracking.remote.base import Remote

MakeAgain = Callable[[RunContext, ArtifactLostError], None]
"""Runs the stage of a lost artifact again, or raises the error."""


def fetch_inputs(run: RunContext, call: StageCall, make_again: MakeAgain) -> None:
    """Have what a call reads here, every file as it was made; what is lost is made again."""
    for artifact in call.inputs.values():
        try:
            fetch_artifact(artifact, run.home, run.remote)
        except ArtifactLostError as lost:
            make_again(run, lost)
            fetch_artifact(artifact, run.home, run.remote)


def push_inputs(run: RunContext, call: StageCall) -> None:
    """Push a call's inputs to the remote, because it is about to run on another machine.

    Raises:
        ConfigError: When no remote is named, or it cannot be written.
        ArtifactLostError: When one is neither here nor there; its stage has to run again.
    """
    if run.remote is None:
        return
    for artifact in call.inputs.values():
        if not _is_there(run.remote, artifact):
            name = artifact.key or artifact.digest
            forget_pushed(run.home, run.remote, name)
            _push(run, run.remote, artifact)


def _is_there(remote: Remote, artifact: Artifact) -> bool:
    """Ask the remote for an artifact's record: a machine that finds it damaged takes it back."""
    if artifact.stage == EXTERNAL:
        return remote.get(external_name(artifact.digest)) is not None
    return remote.get(manifest_name(artifact.stage, artifact.key)) is not None


def _push(run: RunContext, remote: Remote, artifact: Artifact) -> None:
    """Copy an artifact to the remote."""
    if artifact.stage == EXTERNAL:
        push_external(artifact, run.home, remote)
        return
    manifest = load_manifest(run.home, artifact.stage, artifact.key)
    if manifest is None:
        raise ArtifactLostError(f"{artifact.path} has no manifest any more", artifact.key)
    push_artifact(run.home, remote, manifest)
