"""`sparring push` and `pull`: an artifact, or all that a run used, to and from the remote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from flows.runs.console import print_json
from tasks.settings.errors import UnknownNameError
from tasks.stages.manifest import Manifest, file_problem, list_manifests, load_manifest
from tasks.stages.remote.layout import check_layout
from tasks.stages.remote.transfer import fetch_files, fetch_manifest, push_artifact, read_manifest
from tasks.stages.runs.naming import Thing, find_thing
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_sync import fetch_run, push_run
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import require_remote
from tasks.tracking.store.dvc_store import dvc_store


@dataclass
class Transfer:
    """What a push or pull did."""

    id: str
    """What was asked for: the run's id, or the artifact's key."""
    remote: str
    """The other place."""
    artifacts: int = 0
    """Artifacts that belong to it."""
    moved: int = 0
    """Those that were not whole at the other end."""
    bytes: int = 0
    """What those hold, or the bytes of the files that were missing here."""


def push(name: str, *, verify: bool = False) -> Transfer:
    """Copy an artifact, or all that a run used and the run's records, to the remote.

    What is there already is not copied again, unless `verify` finds it damaged. The beginning of a
    key, of a digest or of a run's id is enough.

    Raises:
        ConfigError: When nothing, or more than one thing, is called so, or there is no remote.
        ArtifactLostError: When files are neither here nor there.
    """
    home, remote = current_home(), require_remote()
    run_id, manifests = _here(home, name)
    done = Transfer(run_id or manifests[0].key, remote.url, len(manifests))
    for manifest in manifests:
        _, is_new = push_artifact(home, remote, manifest, again=True, verify=verify)
        done.moved += is_new
        done.bytes += manifest.size if is_new else 0
    if run_id:
        push_run(home, remote, run_id)
    return done


def pull(name: str) -> Transfer:
    """Bring an artifact, or all that a run used and the run's records, here; as `push`."""
    home, remote = current_home().ensure(), require_remote()
    check_layout(remote)
    run_id, manifests = _there(home, remote, name)
    done = Transfer(run_id or manifests[0].key, remote.url, len(manifests))
    for manifest in manifests:
        folder = manifest.folder(home)
        missing = [file for file in manifest.files if file_problem(folder, file)]
        fetch_files(home, remote, manifest, missing)
        if missing:
            store = dvc_store(home.store)
            with store.writing():
                store.add(folder, manifest.files)
        done.moved += bool(missing)
        done.bytes += sum(file.size for file in missing)
    return done


def show_transfer(done: Transfer, verb: str, console: Console, *, as_json: bool) -> None:
    """Print what was moved."""
    if as_json:
        print_json(done)
        return
    rest = done.artifacts - done.moved
    console.print(
        f"{verb} {done.moved} artifacts, {done.bytes:,} bytes; {rest} were there already "
        f"({done.id}, {done.remote})",
        highlight=False,
        soft_wrap=True,
    )


def _here(home: Home, name: str) -> tuple[str, list[Manifest]]:
    """Return the run's id and its artifacts, or no id and the artifact, as this machine knows."""
    thing = find_thing(home, name)
    if thing.is_run:
        keys = _keys(home, thing.key)
        return thing.key, [one for one in list_manifests(home) if (one.stage, one.key) in keys]
    made = load_manifest(home, thing.stage, thing.key)
    return "", [made] if made else []


def _there(home: Home, remote: Remote, name: str) -> tuple[str, list[Manifest]]:
    """Return what `_here` does, asking the remote for what this machine does not know."""
    try:
        thing = find_thing(home, name)
    except UnknownNameError:
        if found := list(_remote_manifests(remote, name)):
            things = [Thing(f"{one.stage}/{one.key}", one.digest, one.stage) for one in found]
            thing = find_thing(home, name, things)
        else:
            run, slash, inner = name.partition("/")
            run = fetch_run(home, remote, run)
            _fetch_manifests(home, remote, run)
            thing = find_thing(home, f"{run}{slash}{inner}")
    if thing.is_run:
        return thing.key, _fetch_manifests(home, remote, thing.key)
    made = fetch_manifest(home, remote, thing.stage, thing.key)
    made = made or load_manifest(home, thing.stage, thing.key)
    return "", [made] if made else []


def _fetch_manifests(home: Home, remote: Remote, run_id: str) -> list[Manifest]:
    """Bring what is known of a run's artifacts here."""
    wanted = [fetch_manifest(home, remote, *key) for key in sorted(_keys(home, run_id))]
    return [manifest for manifest in wanted if manifest is not None]


def _remote_manifests(remote: Remote, name: str) -> Iterator[Manifest]:
    """Yield the artifacts on the remote of that key; of that digest, if no key begins so."""
    if len(name) < 4 or set(name) - set("0123456789abcdef.dir"):
        return
    places = [one.split("/")[1:] for one in remote.names("manifests/")]
    keys = [(stage, file.removesuffix(".json")) for stage, file in places]
    matching = [(stage, key) for stage, key in keys if key.startswith(name)]
    for stage, key in matching or keys:
        manifest = read_manifest(remote, stage, key)
        if manifest is not None and (matching or manifest.digest.startswith(name)):
            yield manifest


def _keys(home: Home, run_id: str) -> set[tuple[str, str]]:
    """Return stage and key of every finished stage call of a run."""
    return {
        (str(event["stage"]), str(event["key"]))
        for event in stage_events(home, run_id)
        if event["state"] in ("cached", "completed")
    }
