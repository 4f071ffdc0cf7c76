"""Whatever is printed, only our own codes steer the terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from rich.markdown import Markdown
from rich.progress import Progress
from rich.text import Text
from rich.tree import Tree

from flows.runs.console import open_console, print_json, show_warnings
from flows.runs.tables import table

EVIL = "a\x1b[2Jb\x9bc\u202ed"
SHOWN = r"a\x1b[2Jb\x9bc\u202ed"


def test_tables_texts_trees_and_pages_show_what_would_steer_the_terminal() -> None:
    console = open_console(file=io.StringIO(), width=60)
    for printed in (EVIL, Text(EVIL), table((EVIL, ""), [(EVIL, 1)]), Tree(EVIL), Markdown(EVIL)):
        console.print(printed)
    written = console.file.getvalue()
    assert written.count(SHOWN) == 6
    assert not set(EVIL) - set("a[2Jbcd") & set(written)


@pytest.mark.parametrize("name", ["[/x]", "[bold]a", "a[red", ":smile:", "[link=http://x]"])
def test_a_name_is_no_markup(name: str) -> None:
    """A run's label `[/x]` ended `ls` with a traceback."""
    console = open_console(file=io.StringIO(), width=60)
    console.print(f"run {name}", highlight=False)
    console.print(table((name, ""), [(name, name)]))
    assert console.file.getvalue().count(name) == 4


def test_our_own_colours_and_bars_stay() -> None:
    console = open_console(file=io.StringIO(), force_terminal=True, width=60)
    with Progress(console=console) as bars:
        bars.add_task("work", total=2, completed=1)
        console.print(Text(EVIL, "red"))
    written = console.file.getvalue()
    assert f"\x1b[31m{SHOWN}\x1b[0m" in written
    assert "\x1b[2K" in written, "the bar is drawn over"


def test_json_stays_json_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({EVIL: ["ü\n\udcff"]})
    text = capsys.readouterr().out
    assert json.loads(text) == {EVIL: ["ü\n\udcff"]}
    assert "ü" in text and not set(EVIL) - set("a[2Jbcd") & set(text)


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """The logger of all our modules, which is as before at the end."""
    logger = logging.getLogger("sparring")
    before = (logger.handlers[:], logger.propagate)
    yield logger
    logger.handlers[:], logger.propagate = before


def test_a_warning_of_ours_is_a_line_on_stderr_and_one_alone(
    ours: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prefect's handler at the root, if a user lets it speak, does not say it again."""
    root = logging.StreamHandler()
    logging.getLogger().addHandler(root)
    try:
        show_warnings()
        show_warnings()
        log = logging.getLogger("sparring.tracking")
        log.info("nobody wants to know")
        log.warning("%s at https://me:secret@host is gone", EVIL)
    finally:
        logging.getLogger().removeHandler(root)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"sparring: {SHOWN} at https://") and "secret" not in err
