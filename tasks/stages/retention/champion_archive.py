"""A champion kept as a folder that a store of another version can take in.

`champion.json` holds the alias, and the manifests of all that its models come from; each model lies
beside it as a plain folder. A key depends on how its store makes keys, so what is taken in gets a
key of its own: no stage can take it for its result, and the digests stay what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError
from tasks.stages.lineage.reading import ancestry, remote_reader
from tasks.stages.manifest import Manifest, commit_manifest, damaged_files, load_manifest
from tasks.stages.remote.transfer import fetch_artifact, push_artifact
from tasks.stages.retention.dropped import mark_dropped
from tasks.stages.runs import aliases
from tasks.storage import home as homes
from tasks.storage.digests import code_digest, digest_file, sha256_json
from tasks.storage.errors import CorruptError
from tasks.storage.files import publish_directory, remove_tree, safe_join
from tasks.storage.home import Home
from tasks.storage.plain import json_text
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store.dvc_store import dvc_store

FORMAT = 1
"""Of the folder; it changes more rarely than the store's layout."""
RECORD = "champion.json"

_KEY = re.compile(r"\b[0-9a-f]{64}\b")
_OUTPUT = re.compile(r"\b([a-z][a-z0-9_]*)/([0-9a-f]{64})\b")


def export_champion(home: Home, flow: str, folder: Path) -> aliases.AliasRecord:
    """Copy a flow's champion, with all that is known of its making, into a new or empty folder.

    Raises:
        ConfigError: There is no champion, its models are gone, or the folder is not empty.
        ArtifactLostError: The files of a model are damaged or gone everywhere.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already: name a new folder for the champion")
    record, remote = aliases.require_alias(home, flow, aliases.CHAMPION), open_remote()
    models = aliases.alias_models(home, record)
    mentioned = _OUTPUT.findall(json_text([record.models, record.basis, record.evidence]))
    elsewhere = remote_reader(home, remote) if remote else None
    graph = ancestry(home, mentioned, elsewhere=elsewhere, most=10**6)
    manifests = [node.manifest.to_json() for node in graph.nodes.values() if node.manifest]
    archive = FolderRemote(folder)
    for role, artifact in models.items():
        path = fetch_artifact(artifact, home, remote)
        for file in artifact.files():
            archive.upload(f"{role}/{file.path}", path / file.path, md5=file.md5)
    plain = {
        "format": FORMAT,
        "origin": {
            "layout": homes.LAYOUT,
            "sparring": version("sparring"),
            "code": code_digest(),
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "record": asdict(record),
        "manifests": [{**one, "seal": ""} for one in manifests],
    }
    # Last, so that a folder with a record in it is whole.
    archive.put(RECORD, json_text({**plain, "seal": sha256_json(plain)}, indent=1).encode())
    return record


def import_champion(home: Home, folder: Path) -> aliases.AliasRecord:
    """Make a champion that `export_champion` wrote that of its flow, here and on the remote.

    Returns:
        The new record of the alias; the present one if it names just these models already.

    Raises:
        ConfigError: The folder holds no champion, or one of a newer format.
        CorruptError: A file in it is not what was exported.
    """
    exported = _read(folder)
    origin = exported["origin"]
    record = aliases.AliasRecord(**exported["record"])
    manifests = {one.key: one for one in map(_manifest, exported["manifests"])}
    models = {role: manifests[name.partition("/")[2]] for role, name in record.models.items()}
    home.ensure()
    for manifest in manifests.values():
        if manifest not in models.values():
            mark_dropped(home, manifest, "it was imported without its files", is_remote=False)
            commit_manifest(home, manifest)
    remote = open_remote()
    for role, manifest in models.items():
        _take_in(home, FolderRemote(folder), role, manifest)
        if remote is not None:
            push_artifact(home, remote, manifest)
    now = aliases.current_alias(home, record.flow, aliases.CHAMPION)
    if now is not None and now.models == record.models:
        return now
    reason = f"imported from a store of layout {origin['layout']}, Sparring {origin['sparring']}"
    evidence = {**record.evidence, "imported": origin}
    draft = replace(record, alias=aliases.CHAMPION, reason=reason, evidence=evidence, restores=0)
    return aliases.move_alias(home, draft)


def _read(folder: Path) -> dict[str, Any]:
    """Return what was exported, with the keys that it has here."""
    text = (FolderRemote(folder).get(RECORD) if folder.is_dir() else None) or b""
    if not text:
        raise ConfigError(f"{folder} holds no {RECORD}: name a folder that export-champion wrote")
    broken = CorruptError(f"{folder / RECORD} is damaged: export the champion again")
    try:
        plain = json.loads(text)
        seal, number = plain.pop("seal"), plain["format"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise broken from error
    if number != FORMAT:
        raise ConfigError(
            f"{folder} has format {number}, this version reads {FORMAT}: import it with the "
            "version that wrote it, or a newer one"
        )
    if seal != sha256_json(plain):
        raise broken
    return _with_own_keys(plain)


def _with_own_keys(plain: dict[str, Any]) -> dict[str, Any]:
    """Replace every exported key, wherever it is mentioned, by the one that it has here."""
    origin = plain["origin"]
    old = [one["key"] for one in plain["manifests"]]
    new = {key: sha256_json({"imported": key, "layout": origin["layout"]}) for key in old}
    text = _KEY.sub(lambda found: new.get(found.group(), found.group()), json_text(plain))
    renamed: dict[str, Any] = json.loads(text)
    for key, manifest in zip(old, renamed["manifests"], strict=True):
        manifest["provenance"]["imported"] = {**origin, "key": key}
    return renamed


def _manifest(plain: Mapping[str, Any]) -> Manifest:
    """Return a manifest as it is kept here."""
    values = {name: value for name, value in plain.items() if name != "seal"}
    manifest = Manifest.from_json({**values, "seal": sha256_json(values)})
    if not _OUTPUT.fullmatch(f"{manifest.stage}/{manifest.key}"):
        raise CorruptError(f"{manifest.stage!r} is no stage: export the champion again")
    return manifest


def _take_in(home: Home, archive: FolderRemote, role: str, manifest: Manifest) -> None:
    """Copy a model into the store and commit it, unless it is whole there."""
    known = load_manifest(home, manifest.stage, manifest.key)
    if known is not None and not damaged_files(home, known):
        return
    incoming, target = home.work / manifest.key / "import", manifest.folder(home)
    remove_tree(incoming)
    for file in manifest.files:
        path = safe_join(incoming, file.path)
        try:
            archive.download(f"{role}/{file.path}", path)
        except RemoteError as error:
            raise CorruptError(f"the exported {role} is not whole: {error}") from error
        if digest_file(path).sha256 != file.sha256:
            raise CorruptError(
                f"{role}/{file.path} of {archive.url} is not what was exported: export it again"
            )
    store = dvc_store(home.store)
    with store.writing():
        remove_tree(target)
        publish_directory(incoming, target)
        store.add(target, manifest.files)
    commit_manifest(home, manifest)
    remove_tree(incoming.parent)
