"""The mutation check: a guard is taken out of a copy of the source, and the tests must go red.

A green suite proves little unless it is known what turns it red. `python -m tests.mutation_check`
(`make mutations`) takes out one guard after the other – an fsync, the rename, the hash check, the
fencing, the seal – and prints a table; it ends with 1 if a copy without its guard passed. Words
choose guards by name: `python -m tests.mutation_check seal`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_STORAGE = "tests/tasks/storage"
_STAGES = "tests/tasks/stages"
_RED = 1
"""With this pytest ends when tests failed; with another when it could not run them."""


class Mutant(NamedTuple):
    """One guard, and how it is taken out."""

    guard: str
    """What it is, in words."""
    file: str
    """Where it stands."""
    changes: tuple[tuple[str, str], ...]
    """What stands there, each once, and what stands there without it."""
    tests: tuple[str, ...]
    """What must go red."""


MUTANTS = (
    Mutant(
        "fsync of a file",
        "tasks/storage/durable.py",
        (("        os.fsync(descriptor)\n    else:", "        pass\n    else:"),),
        (f"{_STORAGE}/test_durable.py",),
    ),
    Mutant(
        "fsync of the folder behind a rename",
        "tasks/storage/durable.py",
        (("    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)\n", ""),),
        (f"{_STORAGE}/test_durable.py",),
    ),
    Mutant(
        "rename: written under the last name at once",
        "tasks/storage/files.py",
        (
            ("durable.temporary_name(path.parent)\n        try:", "path\n        try:"),
            ('mode.replace("w", "x")', "mode"),
            ("            durable.rename(temporary, path)\n", ""),
        ),
        (f"{_STORAGE}/test_files.py",),
    ),
    Mutant(
        "creation that only one can win",
        "tasks/storage/files.py",
        (("os.link(temporary, path)", "os.replace(temporary, path)"),),
        (f"{_STORAGE}/test_files.py",),
    ),
    Mutant(
        "hash check of what a stage reads",
        "tasks/tracking/store/verified_files.py",
        (("elif sha256_file(path) == file.sha256:", "elif True:"),),
        (f"{_STAGES}/test_verified_inputs.py",),
    ),
    Mutant(
        "hash check of what comes from the remote",
        "tasks/tracking/store/object_transfer.py",
        (("        if not _is_good(coming, file):\n", "        if False:\n"),),
        ("tests/tasks/tracking/store/test_object_transfer.py",),
    ),
    Mutant(
        "hash check of a checkpoint's files",
        "tasks/storage/parts.py",
        (("if deep and sha256_file(path) != sha256:", "if False:"),),
        (f"{_STORAGE}/test_workspace.py",),
    ),
    Mutant(
        "fencing: an attempt that was taken over goes on",
        "tasks/storage/fencing.py",
        (('    return record["token"] == token and (', "    return True or ("),),
        (f"{_STORAGE}/test_fencing.py", f"{_STAGES}/leases/test_lease.py"),
    ),
    Mutant(
        "fencing: nobody asks before a commit",
        "tasks/stages/leases/lease.py",
        (("            self.check()\n            yield", "            yield"),),
        (f"{_STAGES}/leases/test_lease.py",),
    ),
    Mutant(
        "lease: who holds a key is passed over",
        "tasks/stages/leases/lease.py",
        (("            if silent <= lease_ttl():\n", "            if False:\n"),),
        (f"{_STAGES}/test_stage.py::test_eight_starters_run_once",),
    ),
    Mutant(
        "numbers of attempts that never come again",
        "tasks/storage/fencing.py",
        (('        write_sealed(_counter(path), {"token": record["token"]})', "        pass"),),
        (f"{_STORAGE}/test_fencing.py",),
    ),
    Mutant(
        "seal of records",
        "tasks/storage/sealed.py",
        (("isinstance(values, dict) and _is_sound(values)", "isinstance(values, dict)"),),
        (f"{_STORAGE}/test_sealed.py",),
    ),
    Mutant(
        "seal of configurations",
        "tasks/storage/sealed.py",
        (("        if sealed_text(rest) == text:\n", "        if True:\n"),),
        (f"{_STORAGE}/test_sealed.py",),
    ),
    Mutant(
        "seal of manifests",
        "tasks/stages/manifest.py",
        (("sha256_json(plain) == seal and set(plain) == names", "set(plain) == names"),),
        (f"{_STAGES}/test_stage.py::test_a_damaged_manifest_is_not_believed",),
    ),
    Mutant(
        "checksums of journals",
        "tasks/storage/journal.py",
        (('if b"%d %08x" % (len(body), zlib.crc32(body)) != length + b" " + crc:', "if False:"),),
        (f"{_STORAGE}/test_journal.py",),
    ),
    Mutant(
        "manifest last: it is written before the output has its name",
        "tasks/stages/commit.py",
        (("remove_tree(target)\n", "commit_manifest(home, manifest), remove_tree(target)\n"),),
        (f"{_STAGES}/test_stage.py::test_resume_after_some_faults",),
    ),
    Mutant(
        "servers answer to their own names alone",
        "flows/servers/own_names.py",
        (("_name(host) in names and is_own_page", "True"),),
        ("tests/flows/servers/test_own_names.py",),
    ),
    Mutant(
        "passwords left out of errors",
        "tasks/settings/passwords.py",
        (('    if "://" in text:\n', "    if False:\n"),),
        ("tests/tasks/settings/test_passwords.py",),
    ),
)  # fmt: skip


def without(source: str, changes: Sequence[tuple[str, str]]) -> str:
    """Return a source with a guard taken out.

    Raises:
        ValueError: What is to be changed is not there once: the source moved on.
    """
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"{old.strip()!r} is there {source.count(old)} times, not once")
        source = source.replace(old, new)
    return source


def _copy_of_the_repository(folder: Path) -> None:
    """Copy the files that git knows, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)


def _run(folder: Path, tests: Sequence[str]) -> int:
    """Run tests in the copy until one fails, and return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ).returncode


def main(words: Sequence[str]) -> int:
    """Print a row for each guard that has one of the words, or for all where there are none.

    Returns:
        1 if tests passed without a guard, or could not run; else 0.
    """
    mutants = [one for one in MUTANTS if not words or any(word in one.guard for word in words)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="sparring-mutants-") as place:
        folder = Path(place)
        _copy_of_the_repository(folder)
        every = sorted({test for mutant in mutants for test in mutant.tests})
        if code := _run(folder, every):
            print(f"with every guard in place pytest ends with {code}: mend that first")
            return 1
        print(
            "| taken out | of | tests | they go red | seconds |\n|---|---|---|---|---|", flush=True
        )
        for mutant in mutants:
            path, began = folder / mutant.file, time.monotonic()
            whole = path.read_text("utf-8")
            path.write_text(without(whole, mutant.changes), "utf-8")
            code = _run(folder, mutant.tests)
            path.write_text(whole, "utf-8")
            word = {_RED: "yes", 0: "**no**"}.get(code, f"**pytest ended with {code}**")
            survived += code != _RED
            tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in mutant.tests)
            seconds = f"{time.monotonic() - began:.0f}"
            print(
                f"| {mutant.guard} | `{mutant.file}` | {tests} | {word} | {seconds} |", flush=True
            )
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
