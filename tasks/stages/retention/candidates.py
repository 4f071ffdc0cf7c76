"""Finds what may be dropped from a home, and drops each under the locks of those who use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from tasks.stages.leases.lease import unclaimed
from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.remote.known_copies import RemoteCopies
from tasks.stages.retention.dropped import last_used, mark_dropped, unmark_dropped
from tasks.stages.retention.leftovers import find_leftovers
from tasks.stages.retention.roots import Policy, find_roots, has_weights, is_worked_on, why_dropped
from tasks.stages.retention.sweep import JUST_USED, WORKED_ON, Candidate, Held, Kind, is_fresh
from tasks.storage.errors import StorageError
from tasks.storage.files import remove_tree
from tasks.storage.home import Home
from tasks.storage.trees import remove_unless
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.cache_index import cached_objects, pointer_of, pointers, referenced
from tasks.tracking.store.dvc_store import dvc_store
from tasks.tracking.store.trash import throw_away, thrown_away


def find_candidates(
    home: Home, remote: Remote | None, policy: Policy
) -> tuple[list[Candidate], list[Held]]:
    """Return what may be removed, in that order, and what must stay for now.

    What the remote, where there is one, does not hold yet must stay.

    Raises:
        StorageError: When it cannot be known what is needed, because a manifest, an alias or a pin
            is damaged, or the remote cannot be asked.
        StageError: When the record of a run is damaged.
    """
    manifests = {manifest.key: manifest for manifest in list_manifests(home, strict=True)}
    outputs, held = _outputs(home, remote, policy, manifests)
    outputs += [*_orphans(home, policy), *_trash(home, policy)]
    found = [*outputs, *find_leftovers(home, policy, manifests)]
    gone = {path for one in outputs for path in one.paths}
    try:
        objects = _unreferenced(home, manifests.values(), policy, gone)
    except StorageError as error:
        return found, [*held, Held("DVC's cache", str(error))]
    if objects:
        # Decided anew when the outputs are gone: one of them may have been held back.
        sweep = partial(_remove_objects, home, policy)
        why = f"{len(objects)} objects of DVC's cache that no output refers to"
        found.append(Candidate("objects", "store/.dvc/cache", why, objects, sweep))
    return found, held


def _outputs(
    home: Home, remote: Remote | None, policy: Policy, manifests: dict[str, Manifest]
) -> tuple[list[Candidate], list[Held]]:
    """Find the outputs that no root needs."""
    found: list[Candidate] = []
    held: list[Held] = []
    copies: RemoteCopies | None = None
    for key, why in sorted(why_dropped(manifests, find_roots(home, policy), policy).items()):
        manifest = manifests[key]
        folder, name = manifest.folder(home), f"{manifest.stage}/{key[:16]}"
        paths = [path for path in (folder, pointer_of(folder)) if path.exists()]
        if not paths:
            continue
        if is_fresh(last_used(home, manifest), policy):
            held.append(Held(name, JUST_USED))
            continue
        if remote is not None and folder.exists():
            copies = copies or RemoteCopies(remote)
            if not copies.holds(manifest):
                held.append(Held(name, f"it is not on the remote yet: sparring push {key[:16]}"))
                continue
        remove = partial(_drop_output, home, policy, manifest, why, is_remote=remote is not None)
        kind: Kind = "weights" if has_weights(manifest) else "artifact"
        last = remote is None
        kept = last and policy.trash_days > 0
        found.append(Candidate(kind, name, why, paths, remove, last, to_trash=kept))
    return found, held


def _drop_output(
    home: Home, policy: Policy, manifest: Manifest, why: str, *, is_remote: bool
) -> str:
    """Drop an output's files and its `.dvc` file; the manifest stays, with a word about it.

    The last copy goes to the trash for a while.
    """
    store, folder = dvc_store(home.store), manifest.folder(home)

    def is_wanted() -> bool:
        return is_fresh(last_used(home, manifest), policy)

    with store.writing(), unclaimed(home.leases, manifest.key) as is_free:
        if not is_free:
            return WORKED_ON
        if is_wanted():
            return JUST_USED
        mark_dropped(home, manifest, why, is_remote=is_remote)
        to_trash = policy.trash_days > 0 and not is_remote
        if not (throw_away if to_trash else remove_unless)(folder, is_wanted):
            unmark_dropped(home, manifest.key)
            return JUST_USED
        store.forget(folder)
    return ""


def _orphans(home: Home, policy: Policy) -> list[Candidate]:
    """Find outputs that were published by an attempt that died before its manifest."""
    found = []
    for folder in sorted(home.store.glob("*/*")):
        stage, name = folder.parent.name, folder.name
        if stage.startswith(".") or name.startswith(".") or not folder.is_dir():
            continue
        if _has_manifest(home, folder) or is_fresh(folder.stat().st_mtime, policy):
            continue
        paths = [path for path in (folder, pointer_of(folder)) if path.exists()]
        remove = partial(_drop_orphan, home, folder)
        why = "an attempt died before it was committed"
        found.append(Candidate("orphan", f"{stage}/{name}", why, paths, remove))
    return found


def _trash(home: Home, policy: Policy) -> Iterator[Candidate]:
    """Find what has been in the trash long enough."""
    for path in thrown_away(home.store, policy.trash_days):
        why = f"it has been in the trash for {policy.trash_days:g} days"
        name = f"{path.parent.name}/{path.name}"
        yield Candidate("trash", name, why, [path], partial(remove_tree, path))


def _drop_orphan(home: Home, folder: Path) -> str:
    """Drop an output without a manifest, unless its attempt is still about to commit it."""
    store = dvc_store(home.store)
    with store.writing():
        keys = [path.stem for path in home.leases.glob(f"{folder.name}*.json")]
        if any(is_worked_on(home, key) for key in keys):
            return WORKED_ON
        if _has_manifest(home, folder):
            return JUST_USED
        remove_tree(folder)
        store.forget(folder)
    return ""


def _has_manifest(home: Home, folder: Path) -> bool:
    """Tell whether a manifest, be it a damaged one, speaks of an output."""
    return any((home.manifests / folder.parent.name).glob(f"{folder.name}*.json"))


def _unreferenced(
    home: Home, manifests: Iterable[Manifest], policy: Policy, gone: Iterable[Path] = ()
) -> list[Path]:
    """Return the old objects of DVC's cache to which nothing refers but what is in `gone`."""
    gone = set(gone)
    kept = [one for one in manifests if one.folder(home) not in gone and one.folder(home).exists()]
    needed = {file.md5 for one in kept for file in one.files} | {one.digest for one in kept}
    left = (path for path in pointers(home.store) if path not in gone)
    needed |= referenced(home.store, left, known=needed)
    objects = cached_objects(home.store).items()
    return [
        path
        for md5, path in objects
        if md5 not in needed and not is_fresh(path.stat().st_mtime, policy)
    ]


def _remove_objects(home: Home, policy: Policy) -> str:
    """Remove the objects that nothing refers to now."""
    with dvc_store(home.store).writing():
        try:
            for path in _unreferenced(home, list_manifests(home), policy):
                remove_tree(path)
        except StorageError as error:
            return str(error)
    return ""
