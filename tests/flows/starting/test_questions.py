"""What `sparring init` takes from flags, asks a person for, and refuses without one."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.starting import questions
from flows.starting.questions import Answers, ask
from tasks.settings.errors import ConfigError

NOTHING: dict[str, Any] = {
    "flow": None, "data": (), "test": None, "model": None, "gold": None, "template": None,
}  # fmt: skip


def asked(monkeypatch: pytest.MonkeyPatch, typed: list[str], **flags: Any) -> tuple[Answers, str]:
    """What was answered, and what was asked."""
    lines = iter(typed)
    monkeypatch.setattr(questions, "_is_somebody_there", lambda: True)
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))
    console = Console(file=StringIO(), width=200)
    answers = ask(console, **{**NOTHING, **flags})
    assert next(lines, None) is None, "every line was asked for"
    return answers, console.file.getvalue()


def test_everything_is_asked_for_and_return_takes_what_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "my-pairs.jsonl.gz", "notes.txt"):
        (tmp_path / name).touch()
    answers, shown = asked(monkeypatch, ["", "", "", ""])
    assert answers == Answers("apo", (Path("my-pairs.jsonl.gz"),), None, "small", "chosen", None)
    assert "apo: Adversarial Preference Optimization" in shown and "exo: Efficient" in shown


def test_what_is_typed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, _ = asked(monkeypatch, ["wrong", "apo", "p.jsonl", "models/mine", "gold.jsonl"])
    assert answers == Answers("apo", (Path("p.jsonl"),), None, "models/mine", "gold.jsonl", None)


def test_a_flow_without_gold_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, shown = asked(monkeypatch, ["p.jsonl", "small"], flow="exo", template="plain")
    assert answers == Answers("exo", (Path("p.jsonl"),), None, "small", "chosen", "plain")
    assert "Gold" not in shown and "Which" not in shown


def test_who_gives_the_data_as_a_flag_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, shown = asked(monkeypatch, [], data=(Path("p.jsonl"),))
    assert answers == Answers("apo", (Path("p.jsonl"),), None, "small", "chosen", None)
    assert shown == ""


def test_nobody_at_a_pipe_is_asked() -> None:
    with pytest.raises(ConfigError, match="sparring init apo --data FILE"):
        ask(Console(), **NOTHING)


@pytest.mark.parametrize(
    ("flow", "words"), [("apoo", "did you mean 'apo'"), ("promotion", "no configuration for pairs")]
)
def test_a_flow_that_takes_no_pairs_is_refused(flow: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ask(Console(), **{**NOTHING, "flow": flow, "data": (Path("p.jsonl"),)})
