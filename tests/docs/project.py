"""A folder in which the pages' commands are typed, one shell per page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.storage.home import Home
from tests.databases import Databases
from tests.docs.checking import laid_over
from tests.docs.pages import ROOT, blocks_of, commands_of, read_page
from tests.flows import warm_client
from tests.flows.warm_start import WARM

STAYS = "prefect worker start"
"""A command that does not end by itself: it runs beside the others until the page ends."""

TUTORIAL = "docs/tutorial.md"
"""The page that the others go on from."""

PROGRAMS = {
    "sparring": f'-I -S {Path(warm_client.__file__)} "$WARM_START"',
    "python": "",
    "prefect": "-m prefect",
    "dvc": "-m dvc",
}
"""What is on the path of the commands, and how this Python is asked for it."""

SMALLER: dict[str, Any] = {
    "data": {"preferences": [{"path": "my-pairs.jsonl", "limit": 240}]},
    "model": {
        "architecture": {
            "kind": "llama", "hidden_size": 32, "layers": 1, "heads": 2, "context": 192,
        },
    },
    "sft": {"training": {"num_train_epochs": 1}},
    "reward": {"training": {"num_train_epochs": 1}},
    "sampling": {"samples": 2, "max_new_tokens": 16},
    "max_queries": 16,
    "evaluation": {"prompts": 12, "samples": 1, "bootstrap_samples": 50},
    # So small a model wins or loses by chance; whether the gate refuses is tested elsewhere.
    "gate": {"min_win_rate": 0.0, "min_judge_accuracy": None},
}  # fmt: skip
"""What the quick tests lay over the tutorial's configuration: the same commands, in seconds."""

_BEGIN = """set -euo pipefail
began=
finish() {
    for one in $began; do
        kill -INT $one 2>/dev/null
        # A worker whose server went first waits for it.
        for _ in $(seq 25); do kill -0 $one 2>/dev/null || break; sleep 0.2; done
        kill -KILL $one 2>/dev/null || true
    done
}
trap finish EXIT
beside() {
    "$@" >beside.log 2>&1 & began="$began $!"
    for _ in $(seq 600); do
        grep -q "Worker '.*' started" beside.log && return 0
        kill -0 $! 2>/dev/null || { cat beside.log >&2; return 1; }
        sleep 0.2
    done
    return 1
}
"""


@dataclass
class Project:
    """A project folder as somebody has it who follows the pages."""

    folder: Path
    """Current folder of every command."""
    whole: bool = False
    """Whether the configurations are used as they stand, and long commands are run."""

    def type_page(self, name: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run the commands of a page, in order, and write the files that it shows.

        Args:
            name: Of the page.
            text: Of the page.
        """
        script = self.script(name, text)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600 if self.whole else 600,
        )

    def script(self, name: str, text: str) -> str:
        """Return a page as a script that says each line before it runs it."""
        lines = [_BEGIN]
        for block in blocks_of(name, text):
            if block.language == "yaml" and block.title:
                shown = self._smaller(block.text)
                lines.append(f"cat > {block.title} <<'END OF FILE'\n{shown}\nEND OF FILE")
            if block.language != "bash" or block.is_only_checked:
                continue
            if block.is_long and not self.whole:
                continue
            for number, command in commands_of(block):
                prefix = "beside " if command.startswith(STAYS) else ""
                lines.append(f"echo '+ {name}:{number}' >&2\n{prefix}{command}")
        return "\n".join(lines) + "\n"

    def _smaller(self, text: str) -> str:
        if self.whole:
            return text
        return yaml.safe_dump(laid_over(yaml.safe_load(text), SMALLER), sort_keys=False)

    def prepare(self) -> None:
        """Put the programs on the path, and the ready configurations where the pages find them."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        for name, words in PROGRAMS.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / name).chmod(0o755)
        (self.folder / "flows").mkdir()
        (self.folder / "flows/configs").symlink_to(ROOT / "flows/configs")

    def _environment(self) -> dict[str, str]:
        kept = {
            key: one for key, one in os.environ.items() if not re.match("PREFECT_API|MLFLOW_T", key)
        }
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        home = {"PREFECT_HOME": str(self.folder / "prefect-home"), "COLUMNS": "120"}
        home["WARM_START"] = WARM.address()
        return {**kept, **home, "PATH": path, "PYTHONPATH": str(ROOT)}


def typed(project: Project, name: str) -> None:
    """Type a page, and show where it failed and what was printed."""
    done = project.type_page(name, read_page(name))
    where = [line for line in done.stderr.splitlines() if line.startswith("+ ")][-1:]
    shown = f"{where}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"exit code {done.returncode} after {shown}"
    assert "Traceback" not in done.stderr, shown


def kept_servers(folder: Path, databases: Databases, *, whole: bool = False) -> Iterator[Project]:
    """A project with servers that stay, so that not every command starts its own."""
    project = Project(folder, whole=whole)
    project.prepare()
    databases.copy("prefect", Home(folder / ".sparring").prefect)
    databases.copy("mlflow", folder / "mlruns")
    assert project.type_page("start", "```bash\nsparring up\n```").returncode == 0
    try:
        typed(project, TUTORIAL)
        yield project
    finally:
        project.type_page("end", "```bash\nsparring down --force\n```")
