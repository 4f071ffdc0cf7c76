"""How many groups the real run's parts hold, from what the small run wrote of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.configs.ava import AvaConfig
from flows.rehearsal.amounts import Amounts
from tasks.settings.loading import validate
from tasks.stages.artifact import Artifact

ALONE: dict[str, Any] = {
    "data": {
        "demonstrations": [{"path": "solved.jsonl"}],
        "split": {"test_share": 0.2, "dev_share": 0.25},
    },
    "exact_match": True,
    "gate": {"tester": "exact_match"},
    "model": {"hub": "someone/a-model"},
    "arms": [{"objective": "ava_d", "pipeline": "direct", "data": "demonstrations"}],
}


def test_demonstrations_alone_give_dev_and_test_their_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 rows of which 50 were read and kept: test is a fifth, dev a quarter of the rest."""
    monkeypatch.chdir(tmp_path)
    Path("solved.jsonl").write_text("{}\n" * 100)
    call: Any = SimpleNamespace(title="prepare_data", spec=SimpleNamespace(name="prepare_data"))
    wrote = {"demonstrations": 30.0, "dev": 10.0, "test": 10.0}
    record: Any = SimpleNamespace(title="prepare_data", metrics=wrote)
    amounts = Amounts(validate(AvaConfig, ALONE, "alone.yaml"), [call], [record], 50)

    def part(name: str) -> Artifact:
        return Artifact("digest", tmp_path, "prepare_data", "key", "prepare_data", name)

    found = {name: amounts.groups(part(name)) for name in wrote}
    assert found == {"test": 20.0, "dev": 20.0, "demonstrations": 60.0}
