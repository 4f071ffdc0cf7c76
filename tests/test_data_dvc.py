"""data.dvc pins the generated playground: generating it anew gives exactly what is pinned."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.generator import ensure_playground
from tasks.storage.digests import digest_tree, directory_md5
from tests.flows.warm_start import WARM

ROOT = Path(__file__).parent.parent


@pytest.fixture
def generated(tmp_path):
    """A folder like a fresh clone after `make data`: the pin, and the data generated beside it."""
    shutil.copy(ROOT / "data.dvc", tmp_path)
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    ensure_playground(PlaygroundConfig(folder=tmp_path / "data/playground"))
    return tmp_path


def dvc(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the plain dvc command."""
    command = [WARM.python(), "-m", "dvc", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_the_generated_data_is_what_is_pinned(generated):
    pinned = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"][0]
    files = digest_tree(generated / "data")
    assert pinned["md5"] == directory_md5(files)
    assert pinned["size"] == sum(file.size for file in files)
    assert pinned["nfiles"] == len(files)


def test_plain_dvc_finds_it_clean_and_sees_a_change(generated):
    assert dvc("commit", "--quiet", "data.dvc", folder=generated).returncode == 0
    clean = dvc("status", "data.dvc", folder=generated)
    assert "up to date" in clean.stdout
    assert (generated / "data.dvc").read_text() == (ROOT / "data.dvc").read_text()
    with open(generated / "data/playground/golden.jsonl", "a") as file:
        file.write("{}\n")
    assert "modified" in dvc("status", "data.dvc", folder=generated).stdout
    # `make data` must refuse to pin something else than what the repository pins.
    assert dvc("commit", "--quiet", "data.dvc", folder=generated).returncode != 0
