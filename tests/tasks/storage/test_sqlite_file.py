"""A database has its name only when it is whole, and a damaged one is put aside with its bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tasks.storage.sqlite_file import make_beside, set_aside_if_broken


def fill(path: Path, rows: int = 2000) -> None:
    """Make a database in SQLite's journal of many files, as Prefect does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE things (name TEXT)")
        connection.executemany("INSERT INTO things VALUES (?)", [("x" * 50,)] * rows)
        connection.execute("INSERT INTO alembic_version VALUES ('head')")
        connection.commit()


def test_it_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.db"

    def killed(making: Path) -> None:
        fill(making)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_beside(path, killed)
    assert not path.exists()

    def make(making: Path) -> None:
        assert not making.exists(), "what the killed one left is gone"
        fill(making, rows=3)

    make_beside(path, make)
    assert [one.name for one in path.parent.iterdir()] == ["a.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (3,)
    assert set_aside_if_broken(path) is None


def without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_another_head(path: Path) -> None:
    path.write_bytes(b"Not a data base." + path.read_bytes()[16:])


def with_a_hole(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8192 : 8192 + 4096] = bytes(4096)
    path.write_bytes(data)


def cut_off_while_made(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM alembic_version")
        connection.commit()


def without_tables(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [without_end, with_another_head, with_a_hole, cut_off_while_made, without_tables]
)
def test_a_broken_one_is_set_aside_with_its_bytes(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.db"
    make_beside(path, fill)
    damage(path)
    broken = path.read_bytes()
    aside = set_aside_if_broken(path)
    assert aside is not None and aside.read_bytes() == broken
    assert not path.exists() and set_aside_if_broken(path) is None


def test_one_in_use_is_no_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make_beside(path, fill)
    with closing(sqlite3.connect(path, timeout=0.1)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM things")
        assert set_aside_if_broken(path) is None
