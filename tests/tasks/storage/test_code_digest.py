"""The digest of the code: the same for equal code, another for any change of it."""

from __future__ import annotations

from pathlib import Path

from tasks.storage.code_digest import code_digest, digest_of_code


def _checkout(folder: Path) -> Path:
    for name, text in {"flows/a.py": "a = 1\n", "flows/configs/b.yaml": "b: 1\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def test_any_file_of_the_packages_counts(tmp_path: Path) -> None:
    digests = {digest_of_code(_checkout(tmp_path / "one"))}
    changes = {"flows/a.py": "a = 2\n", "flows/configs/b.yaml": "b: 2\n", "tasks/c/d.py": ""}
    for number, (name, text) in enumerate(changes.items()):
        folder = _checkout(tmp_path / str(number))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        digests.add(digest_of_code(folder))
    moved = _checkout(tmp_path / "moved")
    (moved / "flows/a.py").rename(moved / "flows/e.py")
    assert len({*digests, digest_of_code(moved)}) == 5


def test_line_ends_compiled_and_hidden_files_and_the_rest_do_not(tmp_path: Path) -> None:
    before = digest_of_code(_checkout(tmp_path))
    (tmp_path / "flows/a.py").write_bytes(b"a = 1\r\n")
    for name in ("flows/__pycache__/a.pyc", "flows/.a.swp", "tests/test_a.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert digest_of_code(tmp_path) == before


def test_this_process_runs_this_checkout() -> None:
    assert code_digest() == digest_of_code(Path(__file__).parents[3])
