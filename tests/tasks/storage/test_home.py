"""The state folder: where it is, what it holds, and whose version wrote it."""

import json
from pathlib import Path

import pytest

from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.home import Home, current_home


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPARRING_HOME", raising=False)
    assert current_home().root == tmp_path / ".sparring"
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "elsewhere"))
    assert current_home().root == tmp_path / "elsewhere"
    assert list(tmp_path.iterdir()) == []


def test_ensure_twice(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure()
    assert sorted(path.name for path in home.root.iterdir()) == [
        "leases", "manifests", "prefect", "runs", "spool", "store", "version.json", "work",
    ]  # fmt: skip
    before = (home.root / "version.json").stat().st_mtime_ns
    assert home.ensure() == home
    assert (home.root / "version.json").stat().st_mtime_ns == before
    assert json.loads((home.root / "version.json").read_text()) == {"layout": 2}
    assert home.servers == home.root / "servers.json"


def test_a_newer_layout_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "version.json").write_text('{"layout": 3}')
    with pytest.raises(StorageError) as caught:
        Home(tmp_path).ensure()
    assert str(caught.value) == (
        f"{tmp_path} was written by a newer version of sparring (layout 3, this one knows 2): "
        "upgrade sparring"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["version.json"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"layout": "1"}', "{"])
def test_a_damaged_version_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "version.json").write_text(text)
    with pytest.raises(CorruptError, match="version.json"):
        Home(tmp_path).ensure()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="SPARRING_HOME"):
        Home(tmp_path / "home").ensure()
