"""What changed of the user's files between a run and the same run gone on with."""

from __future__ import annotations

from tasks.stages.runs.run_inputs import input_changes, save_inputs
from tasks.storage.home import Home


def test_a_changed_a_new_and_a_missing_file_are_named(home: Home) -> None:
    save_inputs(home, "apo-1", {"same": "a", "changed": "b", "gone": "c"})
    found = list(input_changes(home, "apo-1", {"same": "a", "changed": "x", "new": "d"}))
    assert found == [
        "changed has changed since this run began: what was made from it is made anew",
        "gone left the inputs of this run",
        "new came to the inputs of this run",
    ]


def test_the_same_files_and_a_run_that_wrote_nothing_down_have_no_news(home: Home) -> None:
    assert list(input_changes(home, "apo-1", {"a": "b"})) == []
    save_inputs(home, "apo-1", {"a": "b"})
    assert list(input_changes(home, "apo-1", {"a": "b"})) == []
