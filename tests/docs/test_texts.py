"""README leads to the documentation, and no text names what is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.docs.pages import ROOT, page_names, read_page

README = read_page("README.md")
TEXTS = "\n".join(read_page(name) for name in page_names() if name != "CONTRIBUTING.md")


def test_readme_says_the_most_important_before_line_40() -> None:
    first = "\n".join(README.splitlines()[:39])
    for needed in (
        "make test",
        "make demo",
        "Prefect",
        "DVC",
        "MLflow",
        "dvc status",
        "mlflow ui",
    ):
        assert needed in first
    folders = ("pyproject.toml", "flows/", "tasks/", "data.dvc", "mlruns/", "infra/", "tests/")
    for folder in folders:
        assert re.search(rf"^\| `{folder}` \| \S", first, re.MULTILINE), folder


def test_readme_fits_a_screen_and_leads_to_the_documentation() -> None:
    assert len(README.splitlines()) <= 60
    links = set(re.findall(r"\]\(([^)#]+)", README))
    assert links >= {"docs/tutorial.md", "docs/how-to/index.md", "docs/architecture.md"}
    assert not [link for link in links if not (ROOT / link).exists()]


def test_no_page_names_a_command_that_is_absent() -> None:
    code = "import sys; sys.argv = ['sparring', '--help']; from flows.cli.main import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "120"},
    ).stdout  # fmt: skip
    verbs = set(re.findall(r"(?:`|^)sparring ([a-z][a-z-]*)", TEXTS, re.MULTILINE))
    assert verbs >= {"run", "plan", "status", "resume", "ls", "doctor", "report", "promote"}
    assert not [verb for verb in verbs if not re.search(rf"\b{verb}\b", shown)]


def test_files_that_the_pages_name_exist() -> None:
    named = set(re.findall(r"`((?:flows|infra|tests|tasks)/[\w./-]+\w)`", TEXTS)) - {"infra/.env"}
    named |= {f"flows/configs/{name}.yaml" for name in ("apo-tiny", "apo-hh", "apo-hh-cpu")}
    assert not [name for name in named if not (ROOT / name).exists()]
