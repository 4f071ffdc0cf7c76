"""Damaged bytes on either side, and two results of one key: what is good is found and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.runs.context import RunContext, entered


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def _object(shared: Path, artifact: Artifact, name: str) -> Path:
    (file,) = [one for one in artifact.files() if one.path == name]
    return shared / "store" / "files" / "md5" / file.md5[:2] / file.md5[2:]


def test_a_damaged_object_is_named_and_its_stage_runs_again(
    toy: Any, notes: Any, shared: Path, at: Any
) -> None:
    at("a")
    first = toy.flow()
    source = external_artifact(toy.source)
    shard = toy.shard(source, config=toy.config(), seed=1)
    _flip(_object(shared, shard, "00001/text"))
    home = at("b")
    with entered(RunContext(home, progress=notes)):
        again = toy.shard(source, config=toy.config(), seed=1)
        assert toy.started().count("shard") == 2
        made = toy.pick(again.part("00001"))
    assert (made.path / "text").read_text() == "1 1 hello"
    assert toy.started().count("shard") == 3
    assert len(notes.notes) == 1 and "00001/text" in notes.notes[0], notes.notes
    assert "the stage runs again" in notes.notes[0]
    # What B made is good for everybody.
    at("c")
    third = toy.shard(source, config=toy.config(), seed=1)
    assert toy.pick(third.part("00001")).digest == made.digest
    assert toy.flow().digest == first.digest and toy.started().count("shard") == 3


def test_a_damaged_file_here_comes_from_the_remote(
    toy: Any, notes: Any, shared: Path, at: Any
) -> None:
    home = at("a")
    result = toy.flow()
    _flip(result.path / "text")
    with entered(RunContext(home, progress=notes, verify=True)):
        assert toy.flow() == result
    assert len(notes.notes) == 1 and "taken from the remote" in notes.notes[0]
    assert toy.started().count("join") == 1
    made = toy.pick(result)
    assert "hello" in (made.path / "text").read_text()


def test_another_result_of_the_same_key_is_adopted(
    toy: Any, shared: Path, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines without contact made different bytes; the first to share them decides."""
    source = external_artifact(toy.source)
    at("a")
    first = toy.shard(source, config=toy.config(), seed=1)
    home = at("b")
    monkeypatch.delenv("SPARRING_REMOTE")
    scope = toy.shard.spec.body.__globals__
    real = scope["_write"]
    with monkeypatch.context() as inner:
        inner.setitem(scope, "_write", lambda folder, text: real(folder, text + "!"))
        other = toy.shard(source, config=toy.config(), seed=1)
    assert other.digest != first.digest
    monkeypatch.setenv("SPARRING_REMOTE", str(shared))
    adopted = toy.shard(source, config=toy.config(), seed=1)
    assert adopted.digest == first.digest
    assert "!" not in (toy.pick(adopted.part("00000")).path / "text").read_text()
    assert home.store.exists()
