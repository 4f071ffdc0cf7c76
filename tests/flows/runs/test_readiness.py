"""Each source, file and model of a configuration is opened, and what is wrong is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli.doctor import show_config_report
from flows.configs.apo import ApoConfig
from flows.runs.readiness import examine_config
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config

SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}


def found(**changes: Any) -> dict[str, tuple[bool, str]]:
    config = ApoConfig(**load_config(SMALL) | changes)
    return {one.subject: (one.ok, one.detail) for one in examine_config(config)}


def test_a_run_that_makes_everything_itself_has_nothing_to_look_at() -> None:
    assert found() == {}


def test_what_is_here_is_read_and_what_is_not_is_said(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(PAIR) + "\n")
    sources = [{"path": str(pairs)}, {"hub": "owner/pairs", "split": "dev"}]
    seen = found(
        data={"preferences": sources, "test": [{"path": f"{tmp_path}/none"}]},
        gold={"path": str(pairs)},
        compare_with={"other": f"{tmp_path}/nowhere"},
    )
    assert {name: ok for name, (ok, _) in seen.items()} == {
        f"data {pairs}": True,
        "data hub:owner/pairs, dev": False,
        f"data {tmp_path}/none": False,
        f"model {tmp_path}/nowhere": False,
        f"file {pairs}": True,
    }
    assert seen[f"data {pairs}"][1] == "read as pairs"
    assert seen["data hub:owner/pairs, dev"][1].startswith("needs the network: the data set")


def test_the_command_refuses_what_a_run_would_refuse() -> None:
    """A set that is known for a script is refused with the configuration, offline too."""
    console = Console(record=True, width=300)
    missing = ["data.playground=null", "data.preferences=[{path: no}]"]
    assert not show_config_report(SMALL, missing, console, as_json=False)
    assert "there is no data file at no" in console.export_text()
    script = "data.preferences=[{hub: openai/webgpt_comparisons}]"
    with pytest.raises(ConfigError, match="revision: refs/convert/parquet"):
        show_config_report(SMALL, [script], console, as_json=False)
    assert show_config_report(SMALL, [], console, as_json=False)
