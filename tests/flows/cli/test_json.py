"""`--json` of every verb: one document on stdout and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flows.cli.commands.app import answer_in_json
from flows.cli.main import app
from tasks.stages.runs.aliases import current_alias, move_alias
from tests.flows.command import SMALL, Shell

GROUP: Any = get_command(app)
JUDGE = "judge.endpoint={url: http://127.0.0.1:9/v1, model: m, price: {prompt: 0, completion: 0}}"
WORDS: dict[str, tuple[str, ...]] = {
    "init": ("--data", "data/playground/preferences.jsonl"),
    "run": ("apo", "-c", str(SMALL)),
    "plan": ("apo", "-c", str(SMALL)),
    "resume": ("latest",),
    "status": (),
    "ls": ("artifacts",),
    "show": ("latest/APO-DPO-v1",),
    "report": (),
    "lineage": ("latest/RM_APO-v1",),
    "why": ("latest/DPO-v1", "latest/APO-DPO-v1"),
    "compare": ("latest/DPO-v1", "latest/APO-DPO-v1"),
    "judge": ("latest/DPO-v1", "latest/APO-DPO-v1", "--dry-run", "--set", JUDGE),
    "trend": (),
    "promote": ("--set", "gate.min_win_rate=0.0", "--set", "gate.min_judge_accuracy=null"),
    "export": ("champion", "model"),
    "export-champion": ("exported",),
    "import-champion": ("exported",),
    "demote": (),
    "down": (),
    "push": ("champion",),
    "pull": ("apo/champion",),
    "pin": ("champion",),
    "unpin": ("champion",),
    "gc": ("--dry-run",),
    "doctor": (),
    "gold": ("prompts", "-c", str(SMALL)),
    "cost": (),
    "people": (),
}
"""Every verb by words that it takes in the folder of a finished run, in an order that works."""
ELSEWHERE = {
    "up": "test_servers.py",
    "deploy": "test_deploy.py",
    "rehearse": "../rehearsal/test_planted_faults.py",
}
"""Those that need servers or time, and who looks at their JSON."""


@pytest.fixture(scope="module")
def shell(finished: Shell, prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A copy of the finished run with a remote, in which champions come and go."""
    folder = tmp_path_factory.mktemp("json") / "copy"
    shutil.copytree(finished.folder, folder, symlinks=True)
    remote = {"SPARRING_REMOTE": str(folder / "remote"), "PREFECT_API_URL": prefect_server}
    return replace(finished, folder=folder, variables=remote)


def test_every_verb_is_here_and_has_the_option() -> None:
    assert set(GROUP.commands) == {*WORDS, *ELSEWHERE}, "a new verb needs a row of words"
    for name, command in GROUP.commands.items():
        (option,) = [one for one in command.params if "--json" in one.opts]
        assert option.name == "as_json" and not option.required, name


@pytest.mark.parametrize("verb", WORDS)
def test_its_stdout_is_one_document(
    shell: Shell, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "demote":  # somebody must have been champion before
        monkeypatch.setenv("SPARRING_REMOTE", shell.variables["SPARRING_REMOTE"])
        champion = current_alias(shell.home, "apo", "champion")
        assert champion is not None
        move_alias(shell.home, replace(champion, run="another"))
    assert json.loads(shell(verb, *WORDS[verb], "--json").stdout) is not None


def test_a_run_that_works_answers_with_its_report(shell: Shell, tmp_path: Path) -> None:
    told = shell.json("run", *WORDS["run"], "--set", "evaluation.examples=3")
    assert told["run"].startswith("apo-") and 0 < told["cached"] < told["stages"]
    assert (Path(told["report"]["folder"]) / "report.html").is_file()
    assert shell.json("show", told["report"]["artifact"])["stage"] == "write_apo_report"
    again = shell.json("run", *WORDS["run"], "--dry-run")
    assert again["policy"]["coefficients"]["dpo"]["beta"] == 0.1


def test_a_refusal_leaves_stdout_empty(shell: Shell) -> None:
    done = shell("show", "nothing", "--json", code=2)
    assert done.stdout == "" and "'nothing'" in done.stderr


@pytest.mark.parametrize(("verb", "file"), ELSEWHERE.items())
def test_what_needs_servers_is_looked_at_with_them(verb: str, file: str) -> None:
    text = (Path(__file__).parent / file).read_text("utf-8")
    assert f'json("{verb}"' in text or (f'["{verb}"' in text and "--json" in text)


def test_the_console_is_stdout_again_for_the_next_command() -> None:
    from flows.cli.commands.app import console

    assert answer_in_json(True) and console.stderr
    assert not answer_in_json(False) and not console.stderr
