"""Artifacts travelling between this machine's home and the remote, by digest.

On the remote, as here, an artifact is there if and only if its manifest is: objects are pushed and
verified first, the manifest is written last and only if absent. The first machine's manifest of a
key counts; another that finishes the same work adopts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.settings.errors import StageError
from tasks.stages import manifest as manifests
from tasks.stages.artifact import EXTERNAL, Artifact, ArtifactLostError, part_of
from tasks.stages.manifest import Manifest, manifest_path, manifest_text
from tasks.stages.remote.known_copies import forget_pushed, is_pushed, remember_pushed
from tasks.stages.remote.layout import check_layout, manifest_name, read_object, work_folder
from tasks.stages.remote.parts import clear_parts
from tasks.stages.remote.user_files import fetch_external
from tasks.storage.digests import FileDigest
from tasks.storage.errors import CorruptError
from tasks.storage.files import remove_tree, write_atomic
from tasks.storage.home import Home, current_home
from tasks.storage.locks import FileLock
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store import trash
from tasks.tracking.store.dvc_store import dvc_store
from tasks.tracking.store.object_transfer import object_name


def read_manifest(remote: Remote, stage: str, key: str) -> Manifest | None:
    """Return a manifest on the remote without keeping it; a damaged one counts as none."""
    try:
        values = read_object(remote, manifest_name(stage, key))
        return None if values is None else Manifest.from_json(values)
    except (CorruptError, TypeError, KeyError):
        return None


def fetch_manifest(home: Home, remote: Remote, stage: str, key: str) -> Manifest | None:
    """Ask the remote whether a stage is done, and keep its manifest here; its files stay there.

    Returns:
        The remote's manifest; None when there is none, or it is damaged.

    Raises:
        StorageError: When another version wrote the remote.
    """
    check_layout(remote)
    manifest = read_manifest(remote, stage, key)
    if manifest is None:
        return None
    keep_manifest(home, manifest)
    return manifest


def finish_push(home: Home, remote: Remote, key: str) -> None:
    """Remove the parts of finished work from the remote, then note that its output is there."""
    clear_parts(remote, work_folder(key))
    remember_pushed(home, remote, key)


def push_artifact(
    home: Home, remote: Remote, manifest: Manifest, *, again: bool = False, verify: bool = False
) -> tuple[Manifest, bool]:
    """Copy a finished stage's output to the remote, unless it is there.

    Args:
        home: The home that holds the output.
        remote: The remote that gets the output.
        manifest: The manifest of the stage.
        again: Look at every object's size, although it was seen there before.
        verify: Read every object there, and replace those that are damaged.

    Returns:
        The manifest that counts from now on, and whether anything was missing there. It is another
        one only if another machine finished the same work first; that one is adopted here.

    Raises:
        ArtifactLostError: When files of it are neither here nor there.
        DamagedError: When a file here is not what its digest says; it was not pushed.
        CorruptError: When one that is damaged there has no good copy here.
    """
    if not (again or verify) and is_pushed(home, remote, manifest.key):
        return manifest, False
    problems = manifests.damaged_files(home, manifest)
    theirs = fetch_manifest(home, remote, manifest.stage, manifest.key)
    winner = theirs
    if theirs is None or not (problems or theirs.digest != manifest.digest):
        if problems:
            what = f"{manifest.folder(home)}: {problems[0]}, and {remote.url} has it not"
            raise ArtifactLostError(what, manifest.key)
        winner = publish(home, remote, manifest)
        if verify:
            dvc_store(home.store).repair(manifest.files, remote.url)
    assert winner is not None
    if winner.digest != manifest.digest:
        discard_output(home, manifest)
        keep_manifest(home, winner)
    finish_push(home, remote, manifest.key)
    return winner, theirs is None


def publish(
    home: Home, remote: Remote, manifest: Manifest, check: Callable[[], None] = lambda: None
) -> Manifest:
    """Push the objects of an output that lies in the store, then its manifest.

    Between the two `check` is called, which raises when another attempt took over.

    Returns:
        The remote's manifest of this key: the given one, or that of whoever was first.
    """
    check_layout(remote, to_write=True)
    dvc_store(home.store).push(manifest.files, manifest.digest, remote.url)
    check()
    name, data = manifest_name(manifest.stage, manifest.key), manifest_text(manifest).encode()
    if not remote.put_if_absent(name, data):
        theirs = read_manifest(remote, manifest.stage, manifest.key)
        if theirs is None:
            remote.put(name, data)  # what was there is damaged
        manifest = theirs or manifest
    return manifest


def fetch_artifact(
    artifact: Artifact, home: Home | None = None, remote: Remote | None = None
) -> Path:
    """Bring an artifact, or a part of one, to this machine unless it is here.

    Args:
        artifact: A finished output, a part of one, or a user's file.
        home: The home that gets the files; the current one by default.
        remote: The remote that holds them; what `SPARRING_REMOTE` names by default.

    Returns:
        `artifact.path`, where it now lies.

    Raises:
        ArtifactLostError: When it is damaged or gone everywhere, naming the file.
        StageError: When its key has another result by now.
    """
    home, remote = home or current_home(), remote or open_remote()
    if artifact.stage == EXTERNAL:
        return fetch_external(artifact, home, remote)
    manifest = manifests.load_manifest(home, artifact.stage, artifact.key)
    if manifest is None and remote is not None:
        manifest = fetch_manifest(home, remote, artifact.stage, artifact.key)
    if manifest is None:
        raise ArtifactLostError(f"{artifact.path} has no manifest any more", artifact.key)
    digest, files = part_of(manifest, artifact.subpath)
    if digest != artifact.digest:
        raise StageError(
            f"{artifact.path} was {artifact.digest} and is {digest} now: the same work was done "
            "again, here or by another machine, with another result; run the same command again"
        )
    fetch_files(home, remote, manifest, files)
    return artifact.path


def fetch_files(
    home: Home, remote: Remote | None, manifest: Manifest, files: Sequence[FileDigest]
) -> None:
    """Bring the files of a finished stage here, but for those that are here already.

    Raises:
        ArtifactLostError: When one is damaged or gone on the remote too, naming it; the remote's
            manifest is taken back then.
    """
    folder = manifest.folder(home)
    if not manifests.content_damage(home, manifest, files):
        return
    with FileLock(home.leases / f"{manifest.key}.fetch.lock"):
        if not folder.exists():
            restore_output(home, manifest)
        restore_from_cache(home, manifest)
        damage = manifests.content_damage(home, manifest, files)
        wanted = [file for file in files if file.path in damage]
        if not wanted:
            return
        where = f"{manifest.stage}/{wanted[0].path} ({manifest.key[:16]})"
        if remote is None:
            raise ArtifactLostError(
                f"{folder}: {damage[wanted[0].path]}, and SPARRING_REMOTE names no other place",
                manifest.key,
            )
        check_layout(remote)
        for file in wanted:
            # One of the right size and wrong content would pass for one that is here.
            remove_tree(folder / file.path)
        store = dvc_store(home.store)
        try:
            store.pull(wanted, folder, remote.url)
        except CorruptError as error:
            # What stayed there with its size would pass for good when it is pushed again.
            for file in store.verify_remote(wanted, remote.url):
                remote.delete(object_name(file.md5))
            take_back(home, remote, manifest)
            raise ArtifactLostError(f"{where} is lost: {error}", manifest.key) from error


def restore_from_cache(home: Home, manifest: Manifest, *, again: bool = False) -> list[str]:
    """Replace damaged files of an output by good copies in DVC's cache; say which those were.

    With `again` every file is read, also those that did not change since they were read last.
    """
    damage = manifests.content_damage(home, manifest, again=again)
    bad = [file for file in manifest.files if file.path in damage]
    if not bad:
        return []
    folder = manifest.folder(home)
    mended = dvc_store(home.store).restore(bad, folder)
    return [f"{folder}: {damage[file.path]}" for file in mended]


def restore_output(home: Home, manifest: Manifest) -> bool:
    """Bring an output back from the store's trash; returns whether it was there."""
    store, folder = dvc_store(home.store), manifest.folder(home)
    with store.writing():
        if not trash.take_back(folder):
            return False
        store.add(folder, manifest.files)
    return True


def take_back(home: Home, remote: Remote, manifest: Manifest) -> None:
    """Take back the manifests of an output that is whole neither here nor on the remote."""
    remote.delete(manifest_name(manifest.stage, manifest.key))
    forget_pushed(home, remote, manifest.key)
    remove_tree(manifest_path(home, manifest.stage, manifest.key))


def discard_output(home: Home, manifest: Manifest) -> None:
    """Remove an output from the store because another one counts."""
    store, folder = dvc_store(home.store), manifest.folder(home)
    with store.writing():
        store.forget(folder)
        remove_tree(folder)


def keep_manifest(home: Home, manifest: Manifest) -> None:
    """Write a remote manifest here, replacing one that is damaged or describes another result."""
    if manifests.commit_manifest(home, manifest):
        return
    try:
        ours = manifests.load_manifest(home, manifest.stage, manifest.key)
    except CorruptError:
        ours = None
    if ours is None or ours.digest != manifest.digest:
        write_atomic(manifest_path(home, manifest.stage, manifest.key), manifest_text(manifest))
