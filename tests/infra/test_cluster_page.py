"""docs/cluster.md names only verbs, options, files and variables that exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.infra.reading import INFRA, ROOT

PAGE = (ROOT / "docs/cluster.md").read_text("utf-8")


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 200


def test_files_exist() -> None:
    named = set(re.findall(r"\b((?:infra|flows)/[\w./-]+\w)", PAGE)) - {"infra/.env"}
    assert named and not [name for name in named if not (ROOT / name).exists()]
    assert {name for name in ("pool-cpu.json", "pool-gpu.json") if name in PAGE} <= {
        path.name for path in (INFRA / "kubernetes").iterdir()
    }


def test_variables_are_read_by_somebody() -> None:
    texts = [
        path.read_text("utf-8") for top in ("flows", "tasks") for path in (ROOT / top).rglob("*.py")
    ]
    texts += [path.read_text("utf-8") for path in INFRA.rglob("*.yaml")]
    known = set(re.findall(r"\b(?:SPARRING|AWS|PREFECT|MLFLOW)_[A-Z_]+", "\n".join(texts)))
    named = set(re.findall(r"`((?:SPARRING|AWS|PREFECT|MLFLOW)_[A-Z_]+)`", PAGE))
    assert len(named) > 15 and named <= known, named - known


@pytest.mark.slow
def test_verbs_and_their_options_exist() -> None:
    commands = re.findall(r"sparring ([a-z]+)([^`\n]*)", PAGE)
    for verb in {verb for verb, _ in commands}:
        words = [sys.executable, "-m", "flows.cli", verb, "--help"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, verb
        for option in {
            o for v, rest in commands if v == verb for o in re.findall(r" (--[a-z-]+)", rest)
        }:
            assert option in done.stdout, f"{verb} {option}"
