"""The files around the code: packaging, make, scripts, texts, DVC's settings, the tests' rules."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.flows.warm_start import WARM

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def call(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


# Packaging


def test_every_package_is_listed_and_nothing_else() -> None:
    folders = {path.parent for top in ("flows", "tasks") for path in (ROOT / top).rglob("*.py")}
    packages = sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)
    assert packages == sorted(PROJECT["tool"]["setuptools"]["packages"])
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_every_file_beside_the_code_is_package_data() -> None:
    listed = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, patterns in listed.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = {path for top in ("flows", "tasks") for path in (ROOT / top).rglob("*")}
    others = {path for path in files if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert shipped == others
    assert {path.name.partition(".")[2] for path in others} <= {"yaml", "html.j2", "css", "js"}


def test_the_constraints_are_within_the_declared_bounds() -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [
        Requirement(line)
        for line in [
            *PROJECT["project"]["dependencies"],
            *(line for group in extras for line in group),
        ]
    ]
    outside = [
        str(want) for want in wanted if want.name in pins and pins[want.name] not in want.specifier
    ]
    assert not outside
    assert not [want.name for want in wanted if want.name not in pins and "==" not in str(want)]
    assert f"TORCH := torch=={pins['torch']}" in (ROOT / "Makefile").read_text()


def test_an_index_refuses_the_wheel() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("stray", ["tasks.py", "tasks/__init__.py"])
def test_a_stray_tasks_is_named(tmp_path: Path, stray: str) -> None:
    (tmp_path / stray).parent.mkdir(exist_ok=True)
    (tmp_path / stray).write_text("")
    done = call(sys.executable, "-c", "import flows", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / stray} hides Sparring's own package")


def test_without_a_stray_tasks_flows_imports_nothing_else() -> None:
    code = "import sys, flows; print([name for name in sys.modules if name.startswith('tasks')])"
    assert call(sys.executable, "-c", code, cwd=ROOT).stdout.strip() == "[]"


# Make

FAKE_PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$1 $2" in
    "--version "*) echo "Python 3.9.2" ;;
    "-c import sys"*) exit {too_old} ;;
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""


def fake_checkout(folder: Path, *, too_old: bool) -> tuple[Path, Path]:
    """A folder with our Makefile and a Python that only notes what it is asked."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    log, python = folder / "calls.log", folder / "fake-python"
    python.write_text(FAKE_PYTHON.format(log=log, too_old=int(too_old)))
    python.chmod(0o755)
    return python, log


def test_setup_installs_torch_first_and_runs_once(tmp_path: Path) -> None:
    python, log = fake_checkout(tmp_path, too_old=False)
    done = call("make", "setup", f"PYTHON={python}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    installs = [line for line in log.read_text().splitlines() if "pip install" in line]
    assert [line.split()[-1] for line in installs] == ["torch==2.13.0", ".[dev,docs]"]
    assert all("-c constraints.txt" in line for line in installs)

    log.write_text("")
    assert call("make", "setup", f"PYTHON={python}", cwd=tmp_path).returncode == 0
    assert log.read_text() == ""

    later = (tmp_path / ".venv/.sparring-setup").stat().st_mtime + 1
    os.utime(tmp_path / "constraints.txt", (later, later))
    call("make", "setup", f"PYTHON={python}", cwd=tmp_path)
    assert "pip install" in log.read_text()


def test_setup_says_that_python_is_too_old(tmp_path: Path) -> None:
    python, log = fake_checkout(tmp_path, too_old=True)
    done = call("make", "setup", f"PYTHON={python}", cwd=tmp_path)
    assert done.returncode != 0
    assert f"needs Python 3.11 or newer, and {python} is Python 3.9.2" in done.stderr
    assert not (tmp_path / ".venv").exists()
    missing = call("make", "setup", "PYTHON=no-such-python", cwd=tmp_path)
    assert "no-such-python" in missing.stderr and missing.returncode != 0


def test_the_real_demo_asks_for_pairs_before_it_sets_anything_up(tmp_path: Path) -> None:
    python, _ = fake_checkout(tmp_path, too_old=False)
    done = call("make", "demo-real", f"PYTHON={python}", cwd=tmp_path, SPARRING_DATA="")
    assert done.returncode != 0 and "make demo-real PAIRS=my-pairs.jsonl" in done.stderr
    done = call("make", "demo-real", "PAIRS=no.jsonl", f"PYTHON={python}", cwd=tmp_path)
    assert done.returncode != 0 and "there is no file 'no.jsonl'" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_help_is_the_default_and_lists_the_targets() -> None:
    shown = call("make", cwd=ROOT).stdout
    targets = "help setup demo model demo-real vllm test test-slow test-vllm check lint docs "
    targets += "bench clean"
    for target in targets.split():
        assert re.search(rf"make {target} +\S", shown), shown


# Scripts


@pytest.mark.parametrize("script", [".ci/run", "infra/install-test-servers.sh"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert call("bash", "-n", script, cwd=ROOT).returncode == 0


def test_install_test_servers_without_apt_says_so(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    done = call(bash, "infra/install-test-servers.sh", cwd=ROOT, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "no apt-get here; install by other means: chromium" in done.stderr


# Texts


def test_a_configuration_begins_with_what_it_needs_and_its_command() -> None:
    for path in (ROOT / "flows/configs").glob("*.yaml"):
        text = path.read_text().splitlines()
        head = "\n".join(text[: next(n for n, line in enumerate(text) if not line.startswith("#"))])
        assert "Needs:" in head and f"-c flows/configs/{path.name}" in head, path.name


def test_changelog_has_an_open_section() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


# Git and DVC


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository with our settings for git and DVC, and a data folder."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    for name in (".dvc/config", ".dvc/.gitignore", "mlruns/.gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert call("git", "init", "--quiet", cwd=tmp_path).returncode == 0
    (tmp_path / "data/playground").mkdir(parents=True)
    (tmp_path / "data/playground/test.jsonl").write_text("{}\n")
    return tmp_path


def test_plain_dvc_works_in_a_clone_and_touches_no_committed_file(clone: Path) -> None:
    dvc = [WARM.python(), "-m", "dvc"]
    before = (clone / ".gitignore").read_text()
    added = call(*dvc, "add", "--quiet", "data", cwd=clone)
    assert added.returncode == 0, added.stderr
    assert (clone / ".gitignore").read_text() == before
    assert "up to date" in call(*dvc, "status", "data.dvc", cwd=clone).stdout
    (clone / "data/playground/test.jsonl").write_text("changed\n")
    assert "modified" in call(*dvc, "status", "data.dvc", cwd=clone).stdout


def test_git_ignores_what_runs_write(clone: Path) -> None:
    for name in ("data/a", ".sparring/store/a", "mlruns/mlflow.db", ".venv/a", ".dvc/cache/a"):
        assert call("git", "check-ignore", "-q", name, cwd=clone).returncode == 0, name
    for name in ("mlruns/.gitignore", "data.dvc", "flows/a.py", ".dvc/config"):
        assert call("git", "check-ignore", "-q", name, cwd=clone).returncode == 1, name


# The tests' own rules


def test_every_file_with_slow_tests_says_what_they_guard() -> None:
    marked = {
        path.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"\bmark\.slow\b", path.read_text("utf-8")) and path != Path(__file__)
    }
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("### Slow tests")[2]
    named = {name for line in table.splitlines() for name in re.findall(r"`([\w/]+\.py)`", line)}
    assert named == marked


def test_no_network() -> None:
    for reach in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.socket().connect_ex(("192.0.2.1", 80)),
        lambda: socket.getaddrinfo("example.org", 80),
    ):
        with pytest.raises(RuntimeError, match="a test must not reach"):
            reach()
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()


SKIPPING = """
import pytest
@pytest.mark.real
def test_marked(): pytest.skip("no server")
def test_with_data(real_data): pass
def test_by_choice(): pytest.skip("not today")
@pytest.mark.real
@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""


@pytest.mark.parametrize(
    ("required", "closing"),
    [
        ("0", "4 skipped, 1 xfailed"),
        # A fixture that skips is an error of set-up, as one that fails is.
        ("1", "1 failed, 1 skipped, 1 xfailed, 2 errors"),
    ],
)
def test_a_skip_fails_where_the_real_thing_is_required(
    tmp_path: Path, required: str, closing: str
) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(SKIPPING)
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.skip('no browser', allow_module_level=True)"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    real: a\n    gpu: b\n")
    command = [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "-rs"]
    done = call(*command, cwd=tmp_path, SPARRING_REQUIRE_REAL=required, SPARRING_DATA="")
    assert done.stdout.splitlines()[-1].startswith(closing + " in "), done.stdout
    for reason in ("no server", "no browser", "SPARRING_DATA must name the folder"):
        assert reason in done.stdout
    if required == "1":
        assert done.stdout.count("SPARRING_REQUIRE_REAL=1 and this was skipped. ") == 3
