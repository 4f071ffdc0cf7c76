"""`--version`, and what the shell offers behind `sparring` once completion is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.flows.command import Shell
from tests.tasks.stages.runs.test_naming import run as run  # the fixture

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bash(tmp_path: Path, home: object) -> Shell:
    """A user's folder with the program `sparring` and completion for bash."""
    program = tmp_path / "bin" / "sparring"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom flows.cli.main import main\n\nmain()\n")
    program.chmod(0o755)
    variables = {
        "HOME": str(tmp_path),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    shell = Shell(tmp_path, "home", variables)
    said = typed(shell, "sparring --install-completion bash")
    assert "bash completion installed" in said
    return shell


def typed(shell: Shell, script: str) -> str:
    """Return what a bash of the user's prints."""
    variables = {**os.environ, **shell.variables, "SPARRING_HOME": str(shell.home.root)}
    # With a command behind it bash stays the parent, by which the shell is told.
    command = ["bash", "--norc", "-c", f"{script}\nexit $?"]
    done = subprocess.run(
        command, cwd=shell.folder, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tab_completes_verbs_names_and_options(bash: Shell, run: str) -> None:
    offered = {
        "pro": "promote",
        "run ex": "exo",
        "plan apo -c apo-t": "apo-tiny",
        "status la": "latest",
        "show latest/DP": "latest/DPO-v1",
        "lineage apo/": "apo/champion",
        "ls --js": "--json",
    }
    typing = "; ".join(
        f"COMP_WORDS=(sparring {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_sparring_completion sparring; echo "${COMPREPLY[@]}"'
        for words in offered
    )
    assert typed(bash, f"source .bashrc; {typing}").splitlines() == list(offered.values())


def test_a_damaged_store_does_not_disturb_who_types(bash: Shell, run: str) -> None:
    for path in bash.home.runs.glob("*/run.json"):
        path.write_text("[]")
    given = "COMP_WORDS='sparring status la' COMP_CWORD=2 _SPARRING_COMPLETE=complete_bash sparring"
    assert typed(bash, given) == "latest\n"


def test_version(fresh: Shell) -> None:
    assert fresh("--version").stdout == f"sparring {version('sparring')}\n"
