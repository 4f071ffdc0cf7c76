"""What a person sees: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import typing
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from flows.runs.tables import table
from flows.runs.terminal import (
    STATE_STYLES,
    TerminalSink,
    span,
    stage_words,
    state_text,
)
from tasks.stages.runs.context import PlannedStage, StageRecord, StageState
from tasks.stages.runs.progress import StageProgress

RECORD = StageRecord("update_policy", "epoch 1", "k" * 64, "running", attempt=1)


def record(state: StageState, seconds: float = 0.0, error: str = "") -> StageRecord:
    return StageRecord("update_policy", "epoch 1", "k" * 64, state, 1, seconds, error=error)


def play(console: Console) -> None:
    """A stage that runs, then one that was done before, then one that fails."""
    sink = TerminalSink(console)
    with sink.live():
        sink.stage_started(RECORD)
        sink.progress(RECORD.title, 3, 10, "steps")
        sink.metrics(RECORD.title, {"loss": 0.25}, 3)
        sink.metrics(RECORD.title, {"lr": 0.1}, 3)
        sink.note(RECORD.title, "[red]12%[/red] of responses were cut")
        sink.stage_finished(record("completed", 12.34))
        sink.stage_finished(record("cached", 0.01))
        sink.stage_finished(record("failed", 1.0, "no [/room] on disk"))


def test_without_a_terminal_there_are_lines_and_no_escape_codes() -> None:
    out = io.StringIO()
    play(Console(file=out, width=40))
    assert out.getvalue().splitlines() == [
        "  update_policy · epoch 1: [red]12%[/red] of responses were cut",
        "✓ update_policy · epoch 1  completed 12.3 s  3/10 steps",
        "= update_policy · epoch 1  cached ",
        "✗ update_policy · epoch 1  failed 1.0 s  no [/room] on disk",
    ]


def test_where_answers_go_is_said_once_at_the_end_and_not_with_the_stage() -> None:
    out = io.StringIO()
    sink = TerminalSink(Console(file=out, width=40))
    sink.stage_finished(record("waiting", 0.3, "1 answer is missing (33 came): fill it in"))
    assert out.getvalue().endswith("waiting 0.3 s  1 answer is missing (33 came)\n")


def test_a_stage_that_was_stopped_is_no_error() -> None:
    out = io.StringIO()
    sink = TerminalSink(Console(file=out, width=40, force_terminal=True))
    sink.stage_finished(record("interrupted", 45.4, "TrainingInterrupted: stopped at step 188"))
    assert "TrainingInterrupted" not in out.getvalue() and "\x1b[31m" not in out.getvalue()
    assert "stopped at step 188" in out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_bar_of_a_stage_leaves_room_for_its_name(width: int) -> None:
    out = io.StringIO()
    sink = TerminalSink(Console(file=out, width=width, force_terminal=True, color_system=None))
    one = replace(record("running", 0.0), label="APO-DPO-v1")
    with sink.live():
        sink.stage_started(one)
        sink.progress(one.title, 400, 1092, "steps")
        sink.metrics(one.title, {"loss": 1.234}, 400)
        sink._bars.refresh()
    assert "update_policy · APO-DPO" in out.getvalue()


def test_on_a_pipe_a_stages_line_has_its_numbers() -> None:
    """Of 12 stages the second ran at 2 steps/s; one stage of 60 s and one that is new are left."""
    planned = [
        PlannedStage("prepare_data", "", "k", "done", ""),
        PlannedStage("update_policy", "epoch 1", "", "waiting", "", seconds=30.0),
        PlannedStage("update_policy", "epoch 2", "", "waiting", "", seconds=60.0),
        PlannedStage("write_apo_report", "", "", "waiting", ""),
        *(PlannedStage("sample_responses", str(number), "k", "done", "") for number in range(8)),
    ]
    out = io.StringIO()
    sink = TerminalSink(Console(file=out, width=40), planned)
    sink.stage_finished(StageRecord("prepare_data", "", "k", "cached"))
    sink.stage_started(RECORD)
    sink.progress(RECORD.title, 1, 10, "steps")
    sink.stage_finished(record("completed", 12.34))
    assert out.getvalue().splitlines() == [
        "[ 1/12] = prepare_data  cached ",
        "[ 2/12] ✓ update_policy · epoch 1  completed 12.3 s  1/10 steps; "
        "at least 60 s left, 1 stage never ran here",
    ]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (None, ""),
        (StageProgress(), ""),
        (StageProgress(36, 1200, "steps"), "36/1,200 steps"),
        (StageProgress(36, 120, "steps", 2.0), "36/120 steps, 2.0/s, 42 s left"),
        (StageProgress(120, 120, "steps", 2.0), "120/120 steps, 2.0/s"),
    ],
)
def test_how_far_a_stage_is(stage: StageProgress | None, words: str) -> None:
    assert stage_words(stage) == words


def test_on_a_terminal_the_bar_shows_and_leaves_the_same_lines() -> None:
    out = io.StringIO()
    play(Console(file=out, width=200, force_terminal=True, color_system="truecolor"))
    text = out.getvalue()
    assert "\x1b[" in text
    plain = Text.from_ansi(text).plain
    assert "✓ update_policy · epoch 1  completed 12.3 s" in plain
    assert "[red]12%[/red] of responses were cut" in plain


def test_what_nobody_started_is_passed_over() -> None:
    out = io.StringIO()
    sink = TerminalSink(Console(file=out, force_terminal=True))
    sink.progress("unknown", 1, 2, "steps")
    sink.metrics("unknown", {"loss": 1.0}, 1)
    assert out.getvalue() == ""


def test_every_state_has_a_mark_and_colour() -> None:
    assert set(typing.get_args(StageState)) <= set(STATE_STYLES)
    assert state_text("cached").plain == "= cached"
    assert state_text("lost").plain == "? lost"


def test_cells_are_shown_as_they_are() -> None:
    out = io.StringIO()
    rows = [("[bold]x[/bold]", 1), (Text("y", style="red"), None)]
    Console(file=out, width=80).print(table(("name", "n"), rows))
    shown = out.getvalue()
    assert "[bold]x[/bold]" in shown and "None" in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_a_time_for_people(seconds: float | None, words: str) -> None:
    assert span(seconds) == words
