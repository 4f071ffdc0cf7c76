"""What a folder holds, and what a killed process left in it."""

import os
from pathlib import Path

import pytest

from tasks.storage.errors import StorageError
from tasks.storage.trees import sweep_leftovers, walk_tree


def test_walk_tree_sorts_by_the_whole_path(tmp_path: Path) -> None:
    """As strings 'a-b' < 'a/b' since '-' is 45 and '/' 47; by parts it would be the reverse."""
    for name in ("a/b", "a-b", "c/d/e", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert walk_tree(tmp_path) == ([".hidden", "a-b", "a/b", "c/d/e"], ["a", "c", "c/d"])


def test_walk_tree_refuses_links_devices_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StorageError, match="link"):
        walk_tree(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="pipe"):
        walk_tree(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / "a\nb").write_text("")
    with pytest.raises(StorageError, match="clean UTF-8"):
        walk_tree(tmp_path)
    with pytest.raises(StorageError, match="not a folder"):
        walk_tree(tmp_path / "missing")


def test_sweep_removes_only_old_leftovers(tmp_path: Path) -> None:
    for name in (".tmp-old", ".trash-old", ".tmp-new", ".tidy", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("")
        if not name.endswith("new"):
            os.utime(tmp_path / name, (0, 0))
    assert sweep_leftovers(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tidy", ".tmp-new", "kept"]
    assert sweep_leftovers(tmp_path / "missing") == 0
