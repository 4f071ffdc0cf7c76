"""Ctrl-C on a real terminal: answered at once, no failure anywhere, a clean screen."""

from __future__ import annotations

import time
from pathlib import Path

from tasks.stages.runs.run_store import list_runs, run_folder
from tests.databases import Databases
from tests.flows.command import SMALL, Shell, sets, wait_until
from tests.flows.pseudo_terminal import CTRL_C, on_a_terminal
from tests.flows.test_apo import ask

RUN = ("run", "apo", "-c", str(SMALL), *sets("sft.training.num_train_epochs=500"))
STOPPING = "stopping after this step; again to stop now"


def test_ctrl_c_in_a_training(fresh: Shell, databases: Databases) -> None:
    databases.copy("prefect", fresh.home.prefect)
    databases.copy("mlflow", fresh.folder / "mlruns")
    with on_a_terminal(fresh, *RUN) as terminal:
        terminal.wait_for(r"update_policy · SFT .*\d/\d,\d+ steps, [\d.]+/s, \d.*left +loss \d")
        shown = terminal.wait_for(
            r"stage \d+ of \d+; at least \d.* left, \d+ stages never ran here"
        )
        wait_until(lambda: (run_folder_of(fresh) / "progress.json").exists(), 60)
        during = fresh.json("status")
        while during["progress"]["running"][0]["rate"] is None:  # of a step that began just now
            during = fresh.json("status")
        terminal.press(CTRL_C)
        pressed = time.monotonic()
        code = terminal.wait()
        took = time.monotonic() - pressed
    lines = "\n".join(terminal.lines())
    print(f"{took:.1f} s from Ctrl-C to the prompt")
    assert code == 130
    check_the_screen(terminal.raw.decode(errors="replace"), lines)
    (running,) = during["progress"]["running"]
    assert running["title"] == "update_policy · SFT" and 0 < running["done"] < running["total"]
    assert f"stage {running['number']} of {during['progress']['stages']};" in shown
    assert running["rate"] > 0 and running["left"] > 0
    check_the_records(fresh)


def run_folder_of(shell: Shell) -> Path:
    return run_folder(shell.home, list_runs(shell.home)[0].id)


def check_the_screen(raw: str, lines: str) -> None:
    assert STOPPING in lines and "sparring: stopped; all that is done is kept" in lines
    assert "Interrupted:" not in lines and "\x1b[31m" not in raw, "no error, and nothing red"
    assert "✗" not in lines and "failed" not in lines
    assert "‖ update_policy · SFT  interrupted" in lines
    for foreign in ("Checking cache", "it/s", "100%|", "Traceback"):
        assert foreign not in raw, foreign
    assert raw.rstrip().endswith("here\x1b[0m") and raw.count("\x1b[?25l") == raw.count("\x1b[?25h")


def check_the_records(shell: Shell) -> None:
    """The table of states: one word here, and how Prefect and MLflow say it."""
    (run,) = shell.json("ls")
    assert run["status"] == "interrupted"
    assert "is interrupted" in shell("status").stdout
    prefect = shell.home.prefect / "prefect.db"
    assert ask(prefect, "select state_type, state_name from flow_run") == [
        ("CANCELLED", "Interrupted")
    ]
    states = dict(ask(prefect, "select name, state_name from task_run"))
    assert states["update_policy · SFT"] == "Interrupted" and states["prepare_data"] == "Completed"
    mlflow = shell.folder / "mlruns" / "mlflow.db"
    assert set(ask(mlflow, "select name, status from runs")) >= {
        (run["run"], "KILLED"),
        ("update_policy · SFT", "KILLED"),
    }
    words = ask(mlflow, "select value from tags where key = 'sparring.state'")
    assert sorted({word for (word,) in words}) == ["completed", "interrupted"]
    assert words.count(("interrupted",)) == 2, "the run and the stage that was stopped"
