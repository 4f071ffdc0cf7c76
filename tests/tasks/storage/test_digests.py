"""Digests: canonical JSON, files, folders as DVC names them, and the table that spares reading."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks
from tasks.storage import digests
from tasks.storage.digests import (
    DigestTable,
    FileDigest,
    canonical_json,
    code_digest,
    digest_file,
    digest_of_code,
    digest_tree,
    directory_md5,
    sha256_file,
    sha256_json,
)
from tasks.storage.errors import StorageError

ROOT = Path(tasks.__file__).parents[1]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(
        st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def shuffled(value: Any, seed: int) -> Any:
    """Return an equal value whose dicts were filled in another order."""
    if isinstance(value, list):
        return [shuffled(item, seed) for item in value]
    if isinstance(value, dict):
        items = list(value.items())
        random.Random(seed).shuffle(items)
        return {key: shuffled(item, seed) for key, item in items}
    return value


@given(PLAIN, st.integers())
def test_canonical_json_ignores_the_order_of_keys(value: Any, seed: int) -> None:
    assert canonical_json(value) == canonical_json(shuffled(value, seed))
    assert json.loads(canonical_json(value)) == value


@settings(max_examples=5, deadline=None)
@given(st.lists(PLAIN, min_size=20, max_size=40))
def test_two_processes_agree(values: list[Any]) -> None:
    """The other process gets the values through JSON's own escapes and hashes strings otherwise."""
    script = (
        "import json, sys\nfrom tasks.storage.digests import sha256_json\n"
        "print(*(sha256_json(value) for value in json.load(sys.stdin)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    env.pop("SPARRING_FAULT", None)
    given_text = json.dumps([shuffled(value, 1) for value in values])
    done = subprocess.run(
        [sys.executable, "-c", script], input=given_text, env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == [sha256_json(value) for value in values]


def test_canonical_json_tells_apart_what_differs() -> None:
    different = [1, 1.0, "1", True, None, [], {}, [1], -0.0, 0.0, "é", "e\u0301"]
    assert len({canonical_json(value) for value in different}) == len(different)


def test_sha256_json_by_hand() -> None:
    assert sha256_json({"b": 1, "a": "é"}) == hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()


def test_digest_file(tmp_path: Path) -> None:
    """The digests of b'abc' are those of the standards' own examples."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_file(path) == FileDigest("f", 3, "900150983cd24fb0d6963f7d28e17f72", sha256)
    assert digest_file(path, relative="sub/f").path == "sub/f"
    assert sha256_file(path) == sha256


def test_a_file_that_grows_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        with path.open("ab") as out:
            out.write(b"d")
        return status

    monkeypatch.setattr(digests.os, "fstat", fstat)
    with pytest.raises(StorageError, match="changed while"):
        digest_file(path)


def tree(folder: Path) -> Path:
    """Make a folder whose names sort differently as strings and as parts."""
    for name, data in {
        "a/b": b"1\r\n2\n",
        "a-b": b"",
        "ä/ö ü.txt": b"\x00\xff",
        "sub/deep/x.jsonl": b"{}\n" * 1000,
        "Z": b"z",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty").mkdir()
    return folder


def test_directory_md5_by_hand() -> None:
    files = [FileDigest("b", 1, "22", ""), FileDigest("a", 1, "11", "")]
    text = '[{"md5": "11", "relpath": "a"}, {"md5": "22", "relpath": "b"}]'
    expected = hashlib.md5(text.encode()).hexdigest() + ".dir"
    assert directory_md5(files) == expected
    assert [file.path for file in files] == ["b", "a"]


def test_directory_md5_is_what_dvc_says(tmp_path: Path) -> None:
    import yaml
    from dvc.repo import Repo

    folder = tree(tmp_path / "repo" / "data")
    repo = Repo.init(str(tmp_path / "repo"), no_scm=True)
    try:
        repo.add(str(folder))
    finally:
        repo.close()
    out = yaml.safe_load((tmp_path / "repo" / "data.dvc").read_text())["outs"][0]
    files = digest_tree(folder)
    assert directory_md5(files) == out["md5"]
    assert sum(file.size for file in files) == out["size"]
    assert len(files) == out["nfiles"]


def test_table_reads_an_unchanged_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree(tmp_path / "data")
    monkeypatch.setattr(digests, "_UNSETTLED_NS", -1)
    table = DigestTable(tmp_path / "table.json")
    expected = digest_tree(folder)
    assert digest_tree(folder, table=table) == expected
    table.save()

    def refuse(path: Path, *, relative: str | None = None) -> FileDigest:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(digests, "digest_file", refuse)
    assert digest_tree(folder, table=DigestTable(tmp_path / "table.json")) == expected
    (folder / "Z").write_bytes(b"y")
    with pytest.raises(AssertionError, match="Z was read again"):
        digest_tree(folder, table=DigestTable(tmp_path / "table.json"))


def test_table_does_not_trust_a_file_written_just_now(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a")
    table = DigestTable(tmp_path / "table.json")
    table.digest(path)
    table.save()
    assert not (tmp_path / "table.json").exists()


def test_table_survives_damage_and_keeps_what_others_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_UNSETTLED_NS", -1)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    before = {str(tmp_path / "a"): [*digests._stamp((tmp_path / "a").stat()), "bad", "bad"]}
    (tmp_path / "table.json").write_text(json.dumps(before))
    first, second = DigestTable(tmp_path / "table.json"), DigestTable(tmp_path / "table.json")
    first.digest(tmp_path / "a")
    second.digest(tmp_path / "b")
    first.save()
    second.save()
    kept = json.loads((tmp_path / "table.json").read_text())["files"]
    assert sorted(kept) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_no_bit_of_the_table_can_change_a_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped one entered lineage as the digest of a user's file; now it costs time only."""
    monkeypatch.setattr(digests, "_UNSETTLED_NS", -1)
    (tmp_path / "a").write_text("a")
    table = DigestTable(tmp_path / "table.json")
    right = table.digest(tmp_path / "a")
    table.save()
    whole = (tmp_path / "table.json").read_bytes()
    for place in range(8 * len(whole)):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        (tmp_path / "table.json").write_bytes(data)
        assert DigestTable(tmp_path / "table.json").digest(tmp_path / "a") == right


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
