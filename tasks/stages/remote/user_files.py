"""Users' own files for stages that run on another machine: copied to the remote by digest.

A machine without them fetches them into `external/DIGEST/NAME` of its home. What a stage depends on
is the digest alone, so the path does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError, StageError
from tasks.stages.artifact import EXTERNAL, Artifact, ArtifactLostError, external_artifact
from tasks.stages.manifest import artifact_folder, file_problem
from tasks.stages.remote.known_copies import is_pushed, remember_pushed
from tasks.stages.remote.layout import check_layout, external_name, read_object, write_object
from tasks.storage.digests import FileDigest, sha256_file
from tasks.storage.errors import StorageError
from tasks.storage.files import remove_tree, safe_join
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote, RemoteError
from tasks.tracking.store.object_transfer import object_name


def artifact_from_json(values: Mapping[str, Any], home: Home) -> Artifact:
    """Return the artifact that another machine wrote with `Artifact.to_json`.

    Args:
        values: The reference; a user's file may have its `path` in it, which is used where a file
            of the same digest lies there.
        home: The home of this machine; nothing has to be there yet, `fetch_artifact` brings it.
    """
    named = {name: str(values[name]) for name in ("digest", "stage", "key", "label", "subpath")}
    if named["stage"] != EXTERNAL:
        root = artifact_folder(home, named["stage"], named["key"])
        return Artifact(path=root / named["subpath"], **named)
    if (path := values.get("path")) and Path(path).exists():
        here = external_artifact(path)
        if here.digest == named["digest"]:
            return Artifact(path=here.path, **named)
    root = _place(home, named["digest"], str(values.get("name") or named["label"]))
    return Artifact(path=root / named["subpath"], **named)


def push_external(artifact: Artifact, home: Home, remote: Remote) -> bool:
    """Copy a user's file or folder, or the part that is meant, to the remote by its digest.

    Returns:
        Whether anything was missing there.

    Raises:
        StageError: When it changed since it was digested.
    """
    if is_pushed(home, remote, artifact.digest):
        return False
    check_layout(remote, to_write=True)
    name = external_name(artifact.digest)
    is_new = remote.get(name) is None
    if is_new:
        if not _is_unchanged(artifact):
            raise StageError(f"{artifact.path} changed while it was used; run the command again")
        files = _files(artifact)
        for file in files:
            _upload(remote, artifact, file)
        write_object(remote, name, {"files": [asdict(file) for file in files]})
    remember_pushed(home, remote, artifact.digest)
    return is_new


def fetch_external(artifact: Artifact, home: Home, remote: Remote | None) -> Path:
    """Return where a user's file lies, bringing it here unless it is.

    Raises:
        ConfigError: When it is neither here nor on the remote.
        ArtifactLostError: When it is damaged on the remote, naming the file.
        StageError: When it is here and has changed since it became an input.
    """
    ours = home.root / "external"
    if artifact.path.exists() and not artifact.path.is_relative_to(ours):
        if not _is_unchanged(artifact):
            raise StageError(
                f"{artifact.path} has changed since this run began; run the same command again"
            )
        return artifact.path
    record = None if remote is None else read_object(remote, external_name(artifact.digest))
    if remote is None or record is None:
        raise ConfigError(
            f"the input {artifact.label or artifact.path.name} ({artifact.digest}) is neither on "
            "this machine nor on the remote; run the flow where the file is, with SPARRING_REMOTE"
        )
    for values in record["files"]:
        file = FileDigest(**values)
        target = safe_join(artifact.path, file.path) if file.path else artifact.path
        if not file_problem(target.parent, FileDigest(target.name, file.size, "", "")):
            continue
        _download(remote, artifact, file, target)
    return artifact.path


def _upload(remote: Remote, artifact: Artifact, file: FileDigest) -> None:
    """Copy one file there, unless one with its bytes is there."""
    name = object_name(file.md5)
    if remote.size(name) == file.size:
        return
    try:
        remote.upload(name, artifact.path / file.path, md5=file.md5)
    except RemoteError as error:
        if _is_unchanged(artifact):
            raise
        raise StageError(f"{artifact.path} changed while it was pushed; run it again") from error


def _download(remote: Remote, artifact: Artifact, file: FileDigest, target: Path) -> None:
    """Bring one file here; where it is damaged, the record is taken back: its owner pushes anew."""
    source = object_name(file.md5)
    try:
        remote.download(source, target)
        if sha256_file(target) == file.sha256:
            return
        remove_tree(target)
    except RemoteError:
        found = remote.content(source)
        if found is not None and found.sha256 == file.sha256:
            raise
    remote.delete(source)
    remote.delete(external_name(artifact.digest))
    raise ArtifactLostError(
        f"{source} on {remote.url} is damaged or gone ({artifact.label} {file.path}); run the flow "
        "again where the file is",
        artifact.digest,
    )


def _is_unchanged(artifact: Artifact) -> bool:
    """Tell whether a user's file is what it was when it became an input."""
    return external_artifact(artifact.path).digest == artifact.digest


def _files(artifact: Artifact) -> list[FileDigest]:
    """Return the digests of its files, with paths relative to it; "" for a single file."""
    if artifact.path.is_dir():
        return artifact.files()
    (file,) = external_artifact(artifact.path).files()
    return [FileDigest("", file.size, file.md5, file.sha256)]


def _place(home: Home, digest: str, name: str) -> Path:
    """Return where a user's file of another machine is, or will be, kept here."""
    try:
        return safe_join(home.root / "external", digest, name or "data")
    except StorageError:
        return home.root / "external" / digest / "data"
