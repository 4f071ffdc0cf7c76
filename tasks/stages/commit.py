"""Turning a finished attempt into an artifact: publish, version, push, and the manifest last.

One writer at a time commits to a store. A kill at any instant leaves either no manifest, and then
the next attempt commits anew, or a whole one. With a remote its manifest is written before ours: it
decides which of two machines' results counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tasks.settings.errors import StageError
from tasks.stages.leases.lease import Lease
from tasks.stages.manifest import Manifest, commit_manifest, manifest_path, remember_content
from tasks.stages.remote.known_copies import remember_pushed
from tasks.stages.remote.transfer import discard_output, publish
from tasks.storage.digests import FileDigest, digest_file, digest_tree, directory_md5
from tasks.storage.files import publish_directory, remove_tree, write_json
from tasks.storage.home import Home
from tasks.storage.plain import plain_metrics
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.dvc_store import dvc_store

METRICS = "metrics.json"
"""The file in every output that holds what its stage's body returned."""

_SPEED = "speed/"


def commit(
    home: Home,
    draft: Manifest,
    output: Path,
    lease: Lease,
    remote: Remote | None = None,
    clear_parts: Callable[[], None] = lambda: None,
) -> Manifest:
    """Make an attempt's output, with its metrics in a file, the artifact of its key.

    Args:
        home: The home whose store gets the output.
        draft: The manifest without digest and files.
        output: The folder whose content becomes the artifact; it is moved.
        lease: The attempt's lease.
        remote: The remote that gets the output too; None where there is none.
        clear_parts: Called to remove the finished parts from the remote, once nobody needs them.

    Returns:
        The committed manifest; that of another machine if it was first.

    Raises:
        LeaseLostError: When another attempt took over; this one commits nothing then.
        StageError: When the output is empty, or DVC names it otherwise than we do.
        RemoteError: When the remote refuses.
        StorageError: When the output holds links or devices.
        DiskError: When the disk refuses.
    """
    made = digest_tree(output)
    if not made:
        raise StageError(f"stage {draft.stage} left nothing in {output}; its body must write there")
    metrics = _write_metrics(draft, output)
    files = tuple(sorted([*made, metrics], key=lambda file: file.path))
    manifest = replace(draft, digest=directory_md5(files), files=files)
    target = manifest.folder(home)
    store = dvc_store(home.store)
    with store.writing(), lease.fenced():
        # What lies there was published by an attempt that died before its manifest, or was
        # damaged afterwards; nothing refers to it any more.
        remove_tree(target)
        publish_directory(output, target)
        digest = store.add(target, files)
        remember_content(home, manifest)
        if digest != manifest.digest:
            raise StageError(f"dvc calls {target} {digest}, we call it {manifest.digest}")
        if remote is None:
            commit_manifest(home, manifest)
            return manifest
    # Nobody has to wait while this is pushed; whether the lease holds is asked again after it.
    winner = publish(home, remote, manifest, lease.check)
    if winner.digest != manifest.digest:
        discard_output(home, manifest)
    clear_parts()
    remember_pushed(home, remote, winner.key)
    commit_manifest(home, winner)
    return winner


def _write_metrics(draft: Manifest, output: Path) -> FileDigest:
    """Write what the body returned beside its output, but for speeds: two equal runs differ."""
    if (output / METRICS).exists():
        raise StageError(f"stage {draft.stage} wrote {METRICS}, which is written for it")
    lasting = {name: value for name, value in draft.metrics.items() if not name.startswith(_SPEED)}
    write_json(output / METRICS, plain_metrics(lasting))
    return digest_file(output / METRICS)


def withdraw(home: Home, stage: str, key: str, lease: Lease) -> None:
    """Take back a manifest whose files are gone or damaged, so that the stage can run again."""
    path = manifest_path(home, stage, key)
    if path.exists():
        with lease.fenced():
            remove_tree(path)
