"""`sparring init` as a new user types it, to a configuration that runs."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.init import show_new_config
from flows.starting.questions import Answers
from tasks.gold.collection import OWN_GOLD
from tasks.settings.errors import ConfigError
from tests.flows.command import Shell, sets

FLOWS = ["apo", "exo", "ava"]
TINY = sets(
    "model.architecture.hidden_size=16",
    "model.architecture.layers=1",
    "model.architecture.heads=2",
    "sft.training.num_train_epochs=1",
    "reward.training.num_train_epochs=1",
    "sampling.max_new_tokens=4",
    "evaluation.bootstrap_samples=20",
)


def own_pairs(folder: Path, count: int = 30) -> Path:
    path = folder / "my-pairs.jsonl"
    rows = (
        {"prompt": f"Question {n}?", "chosen": f"Yes, {n}.", "rejected": "Go."}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_what_is_written_passes_a_dry_run(fresh: Shell) -> None:
    own_pairs(fresh.folder)
    said = fresh("init", "--data", "my-pairs.jsonl").stdout
    assert OWN_GOLD in said and "warning: my-pairs.jsonl: 30 distinct prompts are enough" in said
    assert "wrote my-run.yaml" in said and "sparring run apo -c my-run.yaml --dry-run" in said
    assert "provider: chosen" in fresh("run", "apo", "-c", "my-run.yaml", "--dry-run").stdout
    (fresh.folder / "my-pairs.jsonl").rename(fresh.folder / "elsewhere.jsonl")
    said = fresh.refusal("run", "apo", "-c", "my-run.yaml", "--dry-run")
    assert f"no data file at my-pairs.jsonl, seen from {fresh.folder.resolve()}" in said


@pytest.mark.parametrize("flow", FLOWS)
def test_as_json(flow: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answers(flow, (own_pairs(tmp_path),), None, "small", "chosen", None)
    output = tmp_path / "run.yaml"
    show_new_config(answers, output, Console(), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["config"], found["flow"], found["template"]) == (str(output), flow, "hh")
    assert found["max_prompt_tokens"] == 32 and found["data"]["files"][0]["groups"] == 30


@pytest.mark.parametrize(
    ("flow", "data", "gold", "output", "words"),
    [
        ("exo", "my-pairs.jsonl", "chosen", "my-pairs.jsonl", "holds the data themselves"),
        ("apo", "my-pairs.jsonl", "best.jsonl", "best.jsonl", "holds the data themselves"),
        ("exo", "my-pairs.jsonl", "best.jsonl", "run.yaml", "reads no gold answers"),
        ("exo", "a\x1b[31m.jsonl", "chosen", "run.yaml", r"the name .*a\\x1b\[31m.jsonl cannot"),
        ("exo", os.fsdecode(b"\xff.jsonl"), "chosen", "run.yaml", r"the name .*udcff.jsonl cannot"),
    ],
)
def test_nothing_is_written_over_the_data_or_with_names_that_cannot_be_read_back(
    flow: str, data: str, gold: str, output: str, words: str, tmp_path: Path
) -> None:
    pairs = own_pairs(tmp_path).read_text()
    (tmp_path / data).write_text(pairs)
    (tmp_path / "best.jsonl").write_text(pairs)
    gold = gold if gold == "chosen" else str(tmp_path / gold)
    answers = Answers(flow, (tmp_path / data,), None, "small", gold, None)
    with pytest.raises(ConfigError, match=words):
        show_new_config(answers, tmp_path / output, Console(), as_json=True)
    assert (tmp_path / "my-pairs.jsonl").read_text() == pairs
    assert (tmp_path / "best.jsonl").read_text() == pairs
    assert not (tmp_path / "run.yaml").exists()


def test_data_that_a_run_would_refuse_give_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_pairs(tmp_path)
    path.write_text(path.read_text() + "{\n" * 10)
    answers = Answers("apo", (path,), None, "small", "chosen", None)
    output = tmp_path / "run.yaml"
    with pytest.raises(
        ValueError, match="nothing was written; --max-bad-share 0.25 lets a run leave"
    ):
        show_new_config(answers, output, Console(width=200), as_json=False)
    assert "10 of 40 records cannot be read" in capsys.readouterr().out and not output.exists()
    show_new_config(answers._replace(max_bad_share=0.25), output, Console(), as_json=True)
    assert "max_bad_share: 0.25" in output.read_text()


def test_what_is_no_data_file_is_bad_usage(tmp_path: Path) -> None:
    sheet = tmp_path / "pairs.xlsx"
    sheet.write_bytes(b"PK\x03\x04")
    answers = Answers("exo", (sheet,), None, "small", "chosen", None)
    with pytest.raises(ConfigError, match="an Excel workbook; unpack it, or save the sheet"):
        show_new_config(answers, tmp_path / "run.yaml", Console(), as_json=False)
    assert ConfigError.exit_code == 2 and not (tmp_path / "run.yaml").exists()


def test_words_of_the_users_own_are_read_by_fields_in_doctor_init_and_run(fresh: Shell) -> None:
    path = own_pairs(fresh.folder)
    path.write_text(path.read_text().replace('"chosen"', '"good"').replace('"rejected"', '"Bad"'))
    fields = "`fields: {chosen: good, rejected: Bad}` of the source, or `--fields` of"
    assert fields in fresh.refusal("doctor", "--data", "my-pairs.jsonl")
    assert fields in fresh.refusal("init", "--data", "my-pairs.jsonl")
    given = ("--data", "my-pairs.jsonl", "--fields", "chosen=good", "--fields", "rejected=Bad")
    assert "pairs" in fresh("doctor", *given).stdout
    fresh("init", *given)
    assert "rejected: Bad" in fresh("run", "apo", "-c", "my-run.yaml", "--dry-run").stdout
    assert "is there already" in fresh.refusal("init", *given), "before anything is asked or read"
    assert "expected OURS=THEIRS" in fresh.refusal("doctor", *given, "--fields", "good")


def test_nobody_is_tested_on_what_is_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, output = own_pairs(tmp_path), tmp_path / "run.yaml"
    answers = Answers("exo", (pairs,), pairs, "small", "chosen", None)
    with pytest.raises(ConfigError, match="is what --data names.*leave --test out"):
        show_new_config(answers, output, Console(), as_json=False)
    copied = tmp_path / "copy.jsonl"
    copied.write_text(pairs.read_text())
    with pytest.raises(ConfigError, match=r"every prompt of .* is in .*copy\.jsonl too"):
        show_new_config(answers._replace(test=copied), output, Console(), as_json=False)
    copied.write_text("".join(pairs.read_text().splitlines(keepends=True)[:3]))
    show_new_config(answers._replace(test=copied), output, Console(width=300), as_json=False)
    said = capsys.readouterr().out
    assert f"3 prompts of {copied} are in {pairs} too: a run leaves their pairs out" in said


def test_at_a_terminal_return_is_enough(tmp_path: Path) -> None:
    own_pairs(tmp_path)
    process, terminal = pty.fork()
    if process == 0:  # the child, in a terminal of its own
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "flows.cli", "init", "exo"])
    os.write(terminal, b"\n\n")
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass  # what a terminal answers when the last program in it has ended
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    assert b"my-pairs.jsonl" in shown and b"wrote my-run.yaml" in shown
    assert "sparring run exo" in (tmp_path / "my-run.yaml").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("flow", FLOWS)
def test_what_is_written_runs_to_its_report(flow: str, fresh: Shell) -> None:
    own_pairs(fresh.folder)
    fresh("init", flow, "--data", "my-pairs.jsonl")
    own = {
        "apo": ["policy.max_queries=4", "evaluation.max_queries=4", "apo_epochs=1"],
        "exo": ["max_queries=4", "evaluation.prompts=4"],
    }
    shown = fresh("run", flow, "-c", "my-run.yaml", *TINY, *sets(*own[flow])).stdout
    assert "report.html" in shown
    assert ("gold is the chosen answers of the pairs themselves" in shown) == (flow == "apo")


@pytest.mark.slow
@pytest.mark.parametrize("flow", FLOWS)
def test_the_ready_configuration_for_pairs_runs(flow: str, fresh: Shell) -> None:
    own_pairs(fresh.folder, 60)
    own = {
        "apo": ["policy.max_queries=4", "apo_epochs=1", "evaluation.sampling.max_new_tokens=4"],
        "exo": ["max_queries=4", "evaluation.prompts=4"],
    }
    words = ("run", flow, "-c", f"{flow}-pairs", *TINY, *sets(*own[flow]))
    assert "report.html" in fresh(*words, PAIRS="my-pairs.jsonl").stdout
