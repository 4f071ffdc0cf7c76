"""Turning a finished attempt into an artifact: publish, version, and the manifest last.

One writer at a time commits to a store. A kill at any instant leaves either no manifest, and then
the next attempt commits anew, or a whole one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.settings.errors import StageError
from tasks.stages.lease import Lease
from tasks.stages.manifest import Manifest, commit_manifest, manifest_path
from tasks.storage.digests import digest_tree, directory_md5
from tasks.storage.files import publish_directory, remove_tree
from tasks.storage.home import Home
from tasks.tracking.dvc_store import dvc_store


def commit(home: Home, draft: Manifest, output: Path, lease: Lease) -> Manifest:
    """Make an attempt's output the artifact of its key.

    Args:
        home: whose store it goes to.
        draft: the manifest without digest and files.
        output: the folder whose content becomes the artifact; it is moved.
        lease: of the attempt.

    Returns:
        The committed manifest.

    Raises:
        LeaseLostError: when another attempt took over; nothing is changed then.
        StageError: when the output is empty, or DVC names it otherwise than we do.
        StorageError: when the output holds links or devices.
        DiskError: when the disk refuses.
    """
    files = tuple(digest_tree(output))
    if not files:
        raise StageError(f"stage {draft.stage} left nothing in {output}; its body must write there")
    manifest = replace(draft, digest=directory_md5(files), files=files)
    target = manifest.folder(home)
    store = dvc_store(home.store)
    with store.writing(), lease.fenced():
        # What lies there was published by an attempt that died before its manifest, or was
        # damaged afterwards; nothing refers to it any more.
        remove_tree(target)
        publish_directory(output, target)
        digest = store.add(target, files)
        if digest != manifest.digest:
            raise StageError(f"dvc calls {target} {digest}, we call it {manifest.digest}")
        commit_manifest(home, manifest)
    return manifest


def withdraw(home: Home, stage: str, key: str, lease: Lease) -> None:
    """Take back a manifest whose files are gone or damaged, so that the stage can run again."""
    path = manifest_path(home, stage, key)
    if path.exists():
        with lease.fenced():
            remove_tree(path)
