"""The state folder: where it is, what it holds, and whose version wrote it."""

import grp
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import write_atomic
from tasks.storage.home import GROUP, Home, current_home, openness


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


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """That of most machines, by which others may read; the process's own comes back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_a_home_is_its_users_alone(tmp_path: Path, usual_umask: None) -> None:
    home = Home(tmp_path / "home").ensure()
    write_atomic(home.runs / "RUN" / "run.json", "{}")
    assert _modes(home.root) == {0o700, 0o600}
    assert openness(home.root) == ""
    home.root.chmod(0o755)
    assert openness(home.root).endswith(f"chmod o-rwx {home.root}")
    home.ensure()
    assert home.root.stat().st_mode & 0o077 == 0o055, "one that is there stays as its owner has it"


def test_a_home_of_a_group_is_its_members(
    tmp_path: Path, usual_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Home(tmp_path / "alone").ensure()
    group = next(one for one in grp.getgrall() if one.gr_gid != os.getgid())
    is_member = os.geteuid() == 0 or group.gr_gid in os.getgroups()
    if not is_member:
        group = grp.getgrgid(os.getgid())
    monkeypatch.setenv(GROUP, group.gr_name)
    home = Home(tmp_path / "home").ensure()
    write_atomic(home.runs / "RUN" / "run.json", "{}")
    assert _modes(home.root) == {0o2770, 0o660}
    (home.prefect / "by-another-library").write_text("")
    assert (home.prefect / "by-another-library").stat().st_mode & 0o060 == 0o060
    assert {path.stat().st_gid for path in home.root.rglob("*")} == {group.gr_gid}
    assert openness(home.root) == ""
    assert f"chgrp -R {group.gr_name} {alone.root}" in openness(alone.root)


def test_a_group_that_is_not_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GROUP, "nobodys-lab")
    with pytest.raises(StorageError, match="SPARRING_GROUP is 'nobodys-lab', and this machine has"):
        Home(tmp_path / "home").ensure()
    assert list(tmp_path.iterdir()) == []
