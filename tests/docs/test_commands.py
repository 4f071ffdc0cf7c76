"""Every command on the pages runs, or is checked where it needs what a test does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flows.cli.main import app
from flows.registry import CONFIGS, FLOWS
from tasks.settings.errors import ConfigError
from tests.databases import Databases
from tests.docs.checking import WrongOnPageError, check_command, syntax_error
from tests.docs.metrics import PAGE as METRICS
from tests.docs.metrics import recorded, untold
from tests.docs.pages import Block, blocks_of, commands_of, page_names, read_page
from tests.docs.project import TUTORIAL, Project, kept_servers, typed

ONLY_CHECKED = {"CONTRIBUTING.md"}
"""Pages whose commands are those of the tests themselves."""


def bash_blocks(name: str) -> list[Block]:
    return [block for block in blocks_of(name, read_page(name)) if block.language == "bash"]


def is_checked(block: Block) -> bool:
    return block.is_only_checked or block.is_long or block.page in ONLY_CHECKED


PAGES = [name for name in page_names() if bash_blocks(name)]
# Runs of the tutorial's project and workers; the last one stops the servers that the others use.
LAST = ["docs/how-to/own-pairs.md", "docs/how-to/promote.md", "docs/how-to/schedule.md"]
LAST += ["docs/cluster.md"]
RUN = [name for name in PAGES if any(not is_checked(one) for one in bash_blocks(name))]
RUN = [name for name in RUN if name not in (TUTORIAL, *LAST)]


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Project]:
    """The tutorial, typed with a smaller model on fewer pairs; the other pages go on from it."""
    yield from kept_servers(tmp_path_factory.mktemp("docs") / "project", databases)


@pytest.fixture(scope="module")
def shown_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the tutorial shows and those that `init` would write."""
    folder = tmp_path_factory.mktemp("shown")
    for block in blocks_of(TUTORIAL, read_page(TUTORIAL)):
        if block.language == "yaml" and block.title:
            (folder / block.title).write_text(block.text)
    for name in PAGES:
        for flow, output in re.findall(
            r"^sparring init (\w+) .*--output (\S+)", read_page(name), re.M
        ):
            ready = (CONFIGS / FLOWS[flow].for_pairs).read_text("utf-8")
            (folder / output).write_text(ready.replace("${PAIRS}", "my-pairs.jsonl"))
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_every_command_is_known(name: str, shown_files: Path) -> None:
    for block in bash_blocks(name):
        assert not syntax_error(block.text), f"{name}:{block.line}"
        for line, command in commands_of(block):
            if not is_checked(block) and not command.startswith("sparring"):
                continue  # it is run below
            try:
                check_command(command, shown_files)
            except Exception as error:
                raise AssertionError(f"{name}:{line} {command}: {error}") from error


def test_the_tutorial_ends_with_a_champion(tutorial: Project) -> None:
    text = "```bash\nsparring ls aliases --json\n```"
    done = tutorial.type_page("aliases", text)
    assert "champion" in done.stdout and "exo" in done.stdout, done.stdout


def test_the_tutorial_recorded_nothing_that_the_page_does_not_name(tutorial: Project) -> None:
    found = recorded(tutorial.folder / "mlruns")
    assert len(found) > 60
    assert not list(untold(METRICS, found))


@pytest.mark.parametrize(
    "name", [*RUN, *(pytest.param(one, marks=pytest.mark.slow) for one in LAST)]
)
def test_a_page_runs_as_it_stands(name: str, tutorial: Project) -> None:
    typed(tutorial, name)


@pytest.fixture(scope="module")
def whole_tutorial(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("whole") / "project"
    yield from kept_servers(folder, databases, whole=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"docs/explanation/{flow}.md" for flow in ("apo", "exo", "ava")])
def test_the_tutorial_and_the_long_commands_run_whole(name: str, whole_tutorial: Project) -> None:
    typed(whole_tutorial, name)


def named_in_words() -> list[tuple[str, str]]:
    """Return what the pages' sentences say of `sparring`, by page."""
    return [
        (name, said)
        for name in page_names()
        for said in re.findall(r"`sparring ([a-z][^`\n]*)`", read_page(name))
    ]


def test_commands_that_are_named_in_a_sentence_exist() -> None:
    group: Any = get_command(app)
    named = named_in_words()
    assert len(named) > 20
    for page, said in named:
        verb, *rest = said.split()
        assert verb in group.commands, f"{page}: sparring {said}"
        known = {name for one in group.commands[verb].params for name in one.opts} | {"--help"}
        options = {word for word in rest if word.startswith("-")}
        assert options <= known, f"{page}: sparring {said}"


# The test's own test

WRONG = [
    "sparring rum exo -c my-run.yaml",
    "sparring run exo -c no-such-file.yaml",
    "sparring run exo -c my-run.yaml --set trainning.learning_rate=1e-4",
    "sparring deploy exo -c my-run.yaml --creat-pool",
    "prefect worker start --pol gpu",
    "make no-such-target",
    "python -m tasks.no_such_module",
    "cp infra/no-such.env infra/.env",
    "frobnicate",
]


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_command_is_found(command: str, shown_files: Path) -> None:
    with pytest.raises((WrongOnPageError, ConfigError)):
        check_command(command, shown_files)


def test_a_page_with_a_command_that_fails_is_found(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.prepare()
    page = "```bash\nsparring ls flows\nsparring ls flowers\nsparring ls configs\n```"
    done = project.type_page("page.md", page)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2] == "+ page.md:3"
    assert "sparring: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("text", ["```bash\nls", "```shell\nls\n```", " ```bash\nls\n```"])
def test_a_block_that_no_test_would_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:1"):
        list(blocks_of("page.md", text))


def test_comments_and_continued_lines() -> None:
    (block,) = blocks_of("page.md", "```bash\n# first\na --b \\\n  c  # why\n\nd\n```")
    assert list(commands_of(block)) == [(3, "a --b   c"), (6, "d")]
