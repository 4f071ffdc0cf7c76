"""docs/architecture.md lists the folders that there are, each on its floor, in its own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture_rules import FLOORS
from tests.docs.pages import ROOT, read_page

PAGE = read_page("docs/architecture.md")


def folders() -> dict[str, str]:
    """Return the first sentence of each package's docstring by its folder."""
    found = {}
    for top in ("flows", "tasks"):
        for path in (ROOT / top).rglob("__init__.py"):
            said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            folder = path.parent.relative_to(ROOT).as_posix() + "/"
            found[folder] = re.split(r"(?<=\.)\s", " ".join(said.split()), maxsplit=1)[0]
    return found


def listed(page: str) -> dict[str, str]:
    """Return the sentence of each folder in the page's tables."""
    return dict(re.findall(r"^\| `((?:flows|tasks)/[\w/]*)` \| (.+) \|$", page, re.MULTILINE))


def differences(page: str) -> Iterator[str]:
    there, said = folders(), listed(page)
    yield from (f"{folder} is not there" for folder in said.keys() - there.keys())
    for folder, sentence in sorted(there.items()):
        if said.get(folder) != sentence:
            yield f"| `{folder}` | {sentence} |"


def test_the_page_lists_the_folders_that_there_are() -> None:
    wrong = list(differences(PAGE))
    assert not wrong, "in docs/architecture.md these lines are missing or differ:\n" + "\n".join(
        wrong
    )


@pytest.mark.parametrize(
    "page",
    [
        PAGE.replace("| `tasks/gold/` |", "| `tasks/silver/` |"),
        PAGE.replace("| `tasks/gold/` | ", "| `tasks/gold/` | Not "),
        PAGE + "\n| `tasks/attic/` | What nobody needs. |\n",
    ],
)
def test_a_difference_is_found(page: str) -> None:
    assert page != PAGE and list(differences(page))


def test_a_folder_stands_under_its_floor() -> None:
    sections = re.split(r"^### Floor (\d)", PAGE, flags=re.MULTILINE)
    floors = {
        folder: int(floor)
        for floor, text in zip(sections[1::2], sections[2::2], strict=True)
        for folder in listed(text)
    }
    assert floors.pop("tasks/") == 6
    for folder, floor in floors.items():
        top = ".".join(folder.strip("/").split("/")[:2])
        assert floor == (7 if folder.startswith("flows/") else FLOORS[top]), folder


def test_files_and_folders_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`((?:flows|tasks|tests)/[\w./]+)`", PAGE))
    assert not [name for name in named if not (ROOT / name).exists()]
