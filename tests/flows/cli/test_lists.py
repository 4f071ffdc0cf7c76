"""`sparring ls` on a terminal of 80 columns and on a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cli import lists
from flows.cli.lists import LISTS, outcome
from tasks.stages.runs.run_store import claim_run, load_run, run_folder, save_status
from tasks.storage.home import Home
from tasks.storage.journal import append_record
from tests.flows.command import Shell

NAMES = {"runs": "run", "artifacts": "key", "aliases": "run", "flows": "flow", "configs": "config"}
"""What names a thing of each list; nothing is barred there, and `test_bans` bars something."""


def on_terminal(shell: Shell, *words: str, columns: int) -> list[str]:
    """Return the lines that a command shows on a terminal of this width, without colours."""
    outside, inside = pty.openpty()
    termios.tcsetwinsize(inside, (50, columns))
    variables = {**os.environ, "SPARRING_HOME": str(shell.home.root), "TERM": "xterm"}
    variables.pop("COLUMNS", None)
    command = [sys.executable, "-m", "flows.cli", *words]
    with subprocess.Popen(command, cwd=shell.folder, env=variables, stdout=inside) as process:
        os.close(inside)
        shown = b"".join(iter(lambda: _read(outside), b""))
    os.close(outside)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).split("\r\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("what", NAMES)
def test_it_fits_80_columns(finished: Shell, what: str) -> None:
    rows, lines = finished.json("ls", what), on_terminal(finished, "ls", what, columns=80)
    assert rows and max(map(len, lines)) <= 80
    for row in rows:
        assert any(row[NAMES[what]] in line for line in lines), "a name is not folded"


@pytest.mark.parametrize("what", NAMES)
def test_it_is_not_cut_on_a_pipe(finished: Shell, what: str) -> None:
    rows = finished.json("ls", what)
    lines = finished("ls", what, COLUMNS="40").stdout.splitlines()
    last = {"configs": "is", "flows": "does", "artifacts": "label", "aliases": "why"}
    for row in rows:
        shown = row[last.get(what, "status")]
        assert any(line.rstrip().endswith(shown) or what == "runs" for line in lines), shown
    if what != "aliases":
        assert len(lines) == len(rows) + 2, "a thing is a line"


def test_there_is_no_other_list(fresh: Shell) -> None:
    assert "no list of 'artefacts'; did you mean 'artifacts'?" in fresh.refusal("ls", "artefacts")
    assert fresh("ls").stdout == f"no runs yet in {fresh.home.root}\n"


@pytest.mark.parametrize(
    ("flow", "dry", "holds", "said"),
    [
        ("promotion", "true", 1.0, "dry run"),
        ("promotion", "true", 0.0, "dry run"),
        ("promotion", "false", 1.0, "promoted"),
        ("promotion", "false", 0.0, "refused"),
        ("promotion", "false", None, ""),
        ("apo", "false", 1.0, ""),
    ],
)
def test_a_promotion_says_what_it_came_to(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flow: str,
    dry: str,
    holds: float | None,
    said: str,
) -> None:
    home = Home(tmp_path).ensure()
    run = claim_run(home, flow, None, "", f"dry_run: {dry}\n")
    event = {"stage": "decide_promotion", "label": "", "key": "k", "state": "cached", "seconds": 0}
    append_record(run_folder(home, run.id) / "stages.journal", event)
    kept = None if holds is None else SimpleNamespace(metrics={"holds": holds})
    monkeypatch.setattr(lists, "load_manifest", lambda *_: kept)
    assert outcome(home, run) == "", "it is not at its end"
    save_status(home, run.id, "completed")
    assert outcome(home, load_run(home, run.id)) == said
    (row,) = LISTS["runs"].rows(home)
    assert LISTS["runs"].cells(row)["status"] == (said or "completed")
