"""Drops from the remote what this home made and nobody needs any more.

A manifest goes before its objects, so that no machine believes in an output that is gone; a copy of
it stays under `dropped/`. What other machines' runs made, or mention, is never touched. While
somebody works with the remote nothing is dropped: a push skips objects that are there already, and
they must not vanish under it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.settings.errors import StageError
from tasks.stages.leases.lease import lease_ttl
from tasks.stages.leases.liveness import owner_silence
from tasks.stages.manifest import Manifest, list_manifests, manifest_text
from tasks.stages.remote.known_copies import OBJECTS, forget_pushed
from tasks.stages.remote.layout import check_layout, manifest_name, read_object, work_folder
from tasks.stages.remote.parts import clear_parts
from tasks.stages.retention.dropped import mark_dropped
from tasks.stages.retention.roots import Policy, Root, find_roots, has_weights, why_dropped
from tasks.stages.retention.sweep import Held, Item, Kind, Sweep
from tasks.stages.runs.run_store import list_runs
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.object_transfer import object_name

GRACE_SECONDS = 86400.0
"""Younger things stay on the remote: whoever pushes them may not have written his manifest yet."""

_KEY = re.compile(rb"\b[0-9a-f]{64}\b")


def sweep_remote(home: Home, remote: Remote, policy: Policy, *, dry_run: bool) -> Sweep:
    """Drop from the remote what nobody needs, or say what would be dropped.

    Raises:
        StageError: When somebody works with the remote.
        CorruptError: When a manifest there cannot be read: what it needs cannot be known.
    """
    check_layout(remote)
    _require_quiet(home, remote)
    sweep = Sweep()
    there = dict(_manifests(remote))
    ours = {run.id for run in list_runs(home)}
    roots = [*find_roots(home, policy), *_foreign_roots(remote, there, ours)]
    # Also through manifests that are only here: the chain to an old output must not break.
    known = {one.key: one for one in list_manifests(home, strict=True)} | there
    for key, why in sorted(why_dropped(known, roots, policy).items()):
        if key not in there or there[key].provenance.get("run") not in ours:
            continue
        manifest = there[key]
        name = manifest_name(manifest.stage, key)
        if (remote.age(name) or 0.0) < GRACE_SECONDS:
            sweep.held.append(Held(name, "it came to the remote less than a day ago"))
            continue
        if not dry_run:
            remote.put(f"dropped/{manifest.stage}/{key}.json", manifest_text(manifest).encode())
            remote.delete(name)
            forget_pushed(home, remote, key)
            mark_dropped(home, manifest, why, is_remote=False)
        del there[key]
        kind: Kind = "weights" if has_weights(manifest) else "artifact"
        sweep.items.append(Item(kind, name, why, 0, is_last_copy=True))
    _drop_objects(remote, there, sweep, dry_run=dry_run)
    _drop_work(remote, there, policy, sweep, dry_run=dry_run)
    return sweep


def _require_quiet(home: Home, remote: Remote) -> None:
    """Raise `StageError` when somebody holds a key on the remote."""
    for key in sorted({name.split("/")[1] for name in remote.names("leases/")}):
        silence = owner_silence(home, remote, key)
        if silence is not None and silence <= lease_ttl():
            raise StageError(
                f"somebody works on {key[:16]} with {remote.url}: gc --remote only when nobody does"
            )


def _manifests(remote: Remote) -> Iterator[tuple[str, Manifest]]:
    """Yield every manifest on the remote with its key."""
    for name in remote.names("manifests/"):
        values = read_object(remote, name)
        if values is None:
            continue
        try:
            manifest = Manifest.from_json(values)
        except (CorruptError, TypeError, KeyError) as error:
            raise CorruptError(
                f"{name} on {remote.url} is damaged ({error}): run its flow again, or remove it"
            ) from error
        yield manifest.key, manifest


def _foreign_roots(remote: Remote, there: Mapping[str, Manifest], ours: set[str]) -> Iterator[Root]:
    """Yield what other machines made, and what the records of their runs mention."""
    for key, manifest in there.items():
        if manifest.provenance.get("run") not in ours:
            yield Root(key, "made by another machine")
    for name in remote.names("runs/"):
        if name.split("/")[1] not in ours:
            data: Any = remote.get(name) or b""
            for found in set(_KEY.findall(data)):
                yield Root(found.decode(), "mentioned by another machine's run")


def _drop_objects(
    remote: Remote, there: Mapping[str, Manifest], sweep: Sweep, *, dry_run: bool
) -> None:
    """Drop the objects that no manifest on the remote refers to."""
    needed = {object_name(file.md5) for one in there.values() for file in one.files}
    needed |= {object_name(one.digest) for one in there.values()}
    for name in remote.names("external/"):
        files = (read_object(remote, name) or {}).get("files", [])
        needed |= {object_name(file["md5"]) for file in files}
    for name, size in sorted(remote.sizes(OBJECTS).items()):
        if name in needed or (remote.age(name) or 0.0) < GRACE_SECONDS:
            continue
        if not dry_run:
            remote.delete(name)
        sweep.items.append(Item("objects", name, "no manifest refers to it", size))


def _drop_work(
    remote: Remote, there: Mapping[str, Manifest], policy: Policy, sweep: Sweep, *, dry_run: bool
) -> None:
    """Drop the finished parts of work that is done, or that nobody goes on with."""
    names = remote.names("work/")
    for key in sorted({name.split("/")[1] for name in names}):
        own = [name for name in names if name.startswith(work_folder(key))]
        youngest = min((remote.age(name) or 0.0 for name in own), default=0.0)
        limit = GRACE_SECONDS if key in there else max(GRACE_SECONDS, policy.days * 86400)
        if youngest < limit:
            continue
        if not dry_run:
            clear_parts(remote, work_folder(key))
        why = "its stage is done" if key in there else f"nobody goes on with it ({policy.days:g} d)"
        sweep.items.append(Item("work", work_folder(key), why, 0))
