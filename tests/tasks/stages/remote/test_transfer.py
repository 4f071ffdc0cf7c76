"""Artifacts and users' files travelling by digest, and the parts of unfinished work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError, StageError
from tasks.stages.artifact import Artifact, ArtifactLostError, external_artifact
from tasks.stages.inputs import push_inputs
from tasks.stages.manifest import list_manifests, manifest_path
from tasks.stages.remote.known_copies import is_pushed
from tasks.stages.remote.layout import manifest_name, work_folder
from tasks.stages.remote.parts import RemoteParts
from tasks.stages.remote.transfer import fetch_artifact, fetch_manifest, push_artifact
from tasks.stages.remote.user_files import artifact_from_json, push_external
from tasks.stages.runs.context import RunContext
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.store.cache_index import cached_objects
from tasks.tracking.store.object_transfer import object_name


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "shared")


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """Another machine's home, empty."""
    return Home(tmp_path / "other").ensure()


def _shard(toy: Any) -> Artifact:
    made = toy.shard(external_artifact(toy.source), config=toy.config(), seed=1)
    assert isinstance(made, Artifact)
    return made


def _there(artifact: Artifact, home: Home) -> Artifact:
    """Return the artifact as the other machine refers to it."""
    return artifact_from_json(artifact.to_json(), home)


def test_only_the_part_that_is_used_comes(
    toy: Any, home: Home, other: Home, remote: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _shard(toy)
    (manifest,) = list_manifests(home)
    assert push_artifact(home, remote, manifest) == (manifest, True)
    assert push_artifact(home, remote, manifest) == (manifest, False)
    assert push_artifact(home, remote, manifest, again=True) == (manifest, False)
    assert is_pushed(home, remote, made.key) and not is_pushed(other, remote, made.key)
    part = _there(made.part("00001"), other)
    path = fetch_artifact(part, other, remote)
    assert path == other.store / "shard" / made.key[:16] / "00001"
    assert (path / "text").read_text() == "1 1 hello"
    assert sorted(file.name for file in path.parent.iterdir()) == ["00001"]
    text = _there(made.part("00000").part("text"), other)
    assert fetch_artifact(text, other, remote).read_text() == "1 0 hello"
    whole = fetch_artifact(_there(made, other), other, remote)
    assert (whole / "metrics.json").exists()
    monkeypatch.setenv("SPARRING_HOME", str(other.root))
    assert external_artifact(whole).digest == made.digest


def test_what_is_nowhere(toy: Any, home: Home, other: Home, remote: FolderRemote) -> None:
    made = _shard(toy)
    with pytest.raises(ArtifactLostError, match="has no manifest any more"):
        fetch_artifact(_there(made, other), other, remote)
    (manifest,) = list_manifests(home)
    (made.path / "00000" / "text").unlink()
    with pytest.raises(ArtifactLostError, match="00000/text is missing, and .* has it not"):
        push_artifact(home, remote, manifest)
    (file,) = [one for one in manifest.files if one.path == "00000/text"]
    cached_objects(home.store)[file.md5].unlink()
    with pytest.raises(ArtifactLostError, match="SPARRING_REMOTE names no other place"):
        fetch_artifact(made, home, None)


def test_a_gone_object_takes_the_manifest_back(
    toy: Any, home: Home, other: Home, remote: FolderRemote
) -> None:
    made = _shard(toy)
    (manifest,) = list_manifests(home)
    push_artifact(home, remote, manifest)
    remote.delete(object_name(made.part("00001").part("text").digest))
    assert fetch_manifest(other, remote, "shard", made.key) == manifest
    with pytest.raises(ArtifactLostError, match="00001/text"):
        fetch_artifact(_there(made.part("00001"), other), other, remote)
    assert remote.get(manifest_name("shard", made.key)) is None
    assert not manifest_path(other, "shard", made.key).exists()
    # Whoever still has it puts it back before somebody else needs it.
    call = toy.join.spec.bind(([made],), {})
    push_inputs(RunContext(home, remote=remote), call)
    assert fetch_artifact(_there(made.part("00001"), other), other, remote).is_dir()


def test_a_damaged_manifest_on_the_remote_counts_as_none(
    toy: Any, home: Home, other: Home, remote: FolderRemote
) -> None:
    made = _shard(toy)
    (manifest,) = list_manifests(home)
    for data in (b"{", b"[]", b'{"key": "x"}', b'{"seal": "x"}'):
        remote.put(manifest_name("shard", made.key), data)
        assert fetch_manifest(other, remote, "shard", made.key) is None
    assert push_artifact(home, remote, manifest) == (manifest, True)
    assert fetch_manifest(other, remote, "shard", made.key) == manifest


def test_users_files_travel_by_digest(
    toy: Any, home: Home, other: Home, remote: FolderRemote, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "weights").write_bytes(b"w" * 1000)
    model = external_artifact(folder)
    for artifact in (external_artifact(toy.source), model, model.part("deep")):
        assert push_external(artifact, home, remote)
        assert not push_external(artifact, home, remote)
        far = _there(artifact, other)
        assert far.path.is_relative_to(other.root) and not far.path.exists()
        path = fetch_artifact(far, other, remote)
        assert path.name == artifact.path.name
        assert external_artifact(path).digest == artifact.digest == far.digest
        assert far.record() == artifact.record()
    # Where the file is, it is read where it lies.
    near = artifact_from_json({**model.to_json(), "path": str(folder)}, other)
    assert near.path == folder and fetch_artifact(near, other, None) == folder
    (folder / "config.json").write_text("{ }")
    moved = artifact_from_json({**model.to_json(), "path": str(folder)}, other)
    assert moved.path.is_relative_to(other.root)


def test_bad_users_files(toy: Any, home: Home, other: Home, remote: FolderRemote) -> None:
    source = external_artifact(toy.source)
    with pytest.raises(ConfigError, match="source.txt .* is neither on this machine nor on the"):
        fetch_artifact(_there(source, other), other, remote)
    push_external(source, home, remote)
    data = object_name(source.digest)
    (remote.root / data).write_bytes(b"hullo")
    with pytest.raises(ArtifactLostError, match=f"{data} .* is damaged or gone"):
        fetch_artifact(_there(source, other), other, remote)
    # Its owner pushes it again when it is needed.
    call = toy.shard.spec.bind((source,), {"config": toy.config(), "seed": 1})
    push_inputs(RunContext(home, remote=remote), call)
    assert fetch_artifact(_there(source, other), other, remote).read_text() == "hello"
    toy.source.write_text("changed")
    with pytest.raises(StageError, match=r"source\.txt changed while it was used"):
        remote.delete(data)
        push_inputs_again(home, remote, source)


def push_inputs_again(home: Home, remote: FolderRemote, source: Artifact) -> None:
    """Push a file whose record on the remote is gone."""
    for name in remote.names("external/"):
        remote.delete(name)
    for path in (home.root / "pushed").rglob("*"):
        if path.is_file():
            path.unlink()
    push_external(source, home, remote)


def _save(workspace: Workspace, name: str, text: str) -> None:
    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "text").write_text(text)
        (folder / "other").write_text(name)

    workspace.save_part(name, write)


def test_parts_are_mirrored(tmp_path: Path, remote: FolderRemote) -> None:
    """Saved, replaced, dropped; and another machine has the union of what is left."""
    first = Workspace(tmp_path / "a" / "attempt-1", mirror=RemoteParts(remote, "k", 1))
    for name in ("one", "two", "three"):
        _save(first, name, "x")
    _save(first, "two", "y")
    first.drop_part("one")
    first.mirror = None
    _save(first, "here", "z")  # saved before there was a remote
    mirror = RemoteParts(remote, "k", 2)
    assert mirror.available() == ["three", "two"]

    second = Workspace(tmp_path / "a" / "attempt-2", mirror=mirror)
    assert second.adopt_parts([first.path]) == []
    third = Workspace(tmp_path / "b" / "attempt-3", mirror=RemoteParts(remote, "k", 3))
    assert third.adopt_parts([]) == []
    assert third.part_names() == second.part_names() == ["here", "three", "two"]
    part = third.part("two")
    assert part is not None and (part / "deep" / "text").read_text() == "y"
    # A superseded attempt that still rotates does not take away what the next one wrote.
    _save(third, "two", "w")
    second.drop_part("two")
    assert RemoteParts(remote, "k", 4).available() == ["here", "three", "two"]
    fourth = Workspace(tmp_path / "c" / "attempt-4", mirror=RemoteParts(remote, "k", 4))
    assert fourth.adopt_parts([]) == []
    RemoteParts(remote, "k", 5).clear()
    assert remote.names(work_folder("k")) == []


def test_damaged_parts_are_left_behind(tmp_path: Path, remote: FolderRemote) -> None:
    first = Workspace(tmp_path / "a" / "attempt-1", mirror=RemoteParts(remote, "k", 1))
    for name in ("flipped", "gone", "good", "torn"):
        _save(first, name, "x")
    folder = remote.root / work_folder("k")
    (folder / "flipped" / "000001" / "other").write_text("flopped")
    (folder / "gone" / "000001" / "deep" / "text").unlink()
    (folder / "torn.json").write_text("{")
    second = Workspace(tmp_path / "b" / "attempt-2", mirror=RemoteParts(remote, "k", 2))
    rejected = second.adopt_parts([])
    assert [text.split(":")[0] for text in rejected] == ["remote"] * 3
    assert "part flipped is left behind: other does not have the SHA-256" in rejected[0]
    assert "deep/text is gone" in rejected[1] and "torn.json" in rejected[2]
    assert second.part_names() == ["good"]
    assert RemoteParts(remote, "k", 2).available() == ["good"]
    with pytest.raises(CorruptError, match="gone"):
        RemoteParts(remote, "k", 2).fetch("nothing", tmp_path)
