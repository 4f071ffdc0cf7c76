"""One policy and one set of prompts for all tests of PPO."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.training.ppo.tiny_ppo import write_policy, write_prompts


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `policy` and `prompts`."""
    root = tmp_path_factory.mktemp("ppo")
    write_policy(root / "policy")
    write_prompts(root / "prompts")
    return root


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """The same in a folder of this test's own."""
    for name in ("policy", "prompts"):
        (tmp_path / name).symlink_to(tiny_root / name)
    return tmp_path
