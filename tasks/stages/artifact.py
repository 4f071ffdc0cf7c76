"""An artifact: a file or folder that does not change, named by its digest.

It is all that stages hand to each other: small, plain, and the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError, StageError, did_you_mean
from tasks.stages.manifest import InputRecord, Manifest, load_manifest
from tasks.storage.digests import DigestTable, FileDigest, digest_tree, directory_md5
from tasks.storage.errors import DiskError, StorageError
from tasks.storage.home import Home, current_home

EXTERNAL = "external"
"""Stands for the stage of a user's own file."""


class ArtifactLostError(StageError):
    """The bytes of a finished stage are damaged or gone everywhere; it has to run again.

    Attributes:
        key: The key of the stage.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished output of a stage, a part of one, or a user's file or folder."""

    digest: str
    """DVC's md5, with ".dir" behind it for a folder; empty while it is only planned."""
    path: Path
    """The folder or file on this machine."""
    stage: str
    """The stage that made it, or "external"."""
    key: str
    """Key of that stage; empty for a user's file."""
    label: str = ""
    """The name that people gave to the call that made it."""
    subpath: str = ""
    """Path of this part in the stage's output; empty for all of it."""

    @property
    def is_pending(self) -> bool:
        """Whether it is only planned: there is a path where it will be, but nothing in it yet."""
        return not self.digest

    @property
    def root(self) -> Path:
        """The whole folder or file on this machine of which this is a part."""
        depth = len(Path(self.subpath).parts)
        return self.path.parents[depth - 1] if depth else self.path

    def part(self, name: str) -> Artifact:
        """Return the file or folder at a relative POSIX path inside, with a digest of its own.

        Raises:
            ConfigError: When there is no such file or folder, naming those there are.
        """
        inside = f"{self.subpath}/{name}" if self.subpath else name
        part = replace(self, path=self.path / name, subpath=inside)
        if self.is_pending:
            return part
        files = self.files()
        for file in files:
            if file.path == name:
                return replace(part, digest=file.md5)
        below = _below(files, name)
        if not below:
            known = sorted({file.path.partition("/")[0] for file in files})
            raise ConfigError(f"{self.path} has no part {name!r}{did_you_mean(name, known)}")
        return replace(part, digest=directory_md5(below))

    def files(self) -> list[FileDigest]:
        """Return the digests of all files inside, with paths relative to it, from the records."""
        is_external = self.stage == EXTERNAL
        files = _external_files(self.root) if is_external else list(self._manifest().files)
        return _below(files, self.subpath) if self.subpath else files

    @property
    def metrics(self) -> dict[str, float]:
        """What the stage that made it returned; nothing for a user's file or a planned one."""
        if self.stage == EXTERNAL or self.is_pending:
            return {}
        return dict(self._manifest().metrics)

    def record(self) -> InputRecord:
        """Return what a manifest says of it when it is an input."""
        return InputRecord(self.digest, self.stage, self.key, self.subpath)

    def to_json(self) -> dict[str, Any]:
        """Return a small plain reference, without the path, which differs between machines."""
        names = ("digest", "stage", "key", "label", "subpath")
        return {name: getattr(self, name) for name in names}

    def _manifest(self) -> Manifest:
        """Read the manifest of the stage that made it."""
        manifest = load_manifest(current_home(), self.stage, self.key)
        if manifest is None:
            raise StorageError(
                f"{self.path} has no manifest any more; run the flow again to make it anew"
            )
        return manifest


def committed_artifact(home: Home, manifest: Manifest, label: str = "") -> Artifact:
    """Return the output of a finished stage."""
    folder = manifest.folder(home)
    return Artifact(manifest.digest, folder, manifest.stage, manifest.key, label or manifest.label)


def external_artifact(path: Path | str) -> Artifact:
    """Return a user's file or folder as an input; it is read where it lies and not copied.

    Its digests are remembered by size, times and inode, so that a big one is read once.

    Raises:
        ConfigError: When there is nothing at `path`, or a folder holds links or devices.
        DiskError: The digests cannot be kept: the disk is full.
    """
    root = Path(os.path.realpath(path))
    if not root.exists():
        raise ConfigError(f"there is no file or folder {path}")
    try:
        files = _external_files(root)
    except DiskError:
        raise
    except StorageError as error:
        raise ConfigError(f"{path} cannot be an input: {error}") from error
    digest = directory_md5(files) if root.is_dir() else files[0].md5
    return Artifact(digest, root, EXTERNAL, "", label=root.name)


def part_of(manifest: Manifest, subpath: str) -> tuple[str, list[FileDigest]]:
    """Return the digest of a part of a stage's output and its files, with their whole paths.

    The digest is empty when there is no such part.
    """
    if not subpath:
        return manifest.digest, list(manifest.files)
    for file in manifest.files:
        if file.path == subpath:
            return file.md5, [file]
    below = _below(manifest.files, subpath)
    inside = [replace(file, path=f"{subpath}/{file.path}") for file in below]
    return (directory_md5(below) if below else ""), inside


def _external_files(root: Path) -> list[FileDigest]:
    """Digest a user's file or folder, from memory where it did not change."""
    table = _digest_table(current_home().root)
    files = digest_tree(root, table=table) if root.is_dir() else [table.digest(root)]
    table.save()
    return files


@lru_cache(maxsize=4)
def _digest_table(root: Path) -> DigestTable:
    """Return this process's table of known digests of a home."""
    return DigestTable(root / "digests.json")


def _below(files: Sequence[FileDigest], folder: str) -> list[FileDigest]:
    """Return the files inside a folder, with paths relative to it."""
    prefix = f"{folder}/"
    return [
        replace(file, path=file.path[len(prefix) :])
        for file in files
        if file.path.startswith(prefix)
    ]
