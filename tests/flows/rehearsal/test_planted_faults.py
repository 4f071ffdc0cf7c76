"""Faults that configurations once had, planted again: a rehearsal says what fails, and where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.registry import CONFIGS, find_flow, read_config
from flows.rehearsal.rehearsal import Rehearsal
from flows.runs.gold_prompts import write_gold_prompts
from tasks.data import prepare
from tasks.data.groups import Group
from tasks.data.sources import reader
from tasks.settings.errors import ConfigError
from tests.flows.rehearsal.hub_sets import write_gold, write_webgpt
from tests.flows.rehearsal.test_shipped_configs import rehearsed

Workplace = Callable[[str], Path]


def only_failure(found: Rehearsal) -> tuple[str, str]:
    (failure,) = found.performance.failures
    assert found.performance.report is None and found.performance.missed
    return failure.where, failure.why


def test_a_part_that_is_the_beginning_of_a_sorted_split(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred negative reviews before the first positive one only negative ones are taken."""
    workplace("gpt2-large")
    monkeypatch.setattr(reader, "sampled", lambda groups, most, seed=0: islice(groups, most))
    where, why = only_failure(rehearsed("exo-imdb", "oracle.base=null"))
    assert where.startswith("train_classifier") and "label" in why


def test_a_set_that_is_a_loading_script(workplace: Workplace) -> None:
    folder = workplace("llama-2-7b")
    shutil.rmtree(folder / "openai" / "webgpt_comparisons")
    write_webgpt(folder / "openai" / "webgpt_comparisons", as_script=True)
    sources = "data.extra_preferences=[{hub: openai/webgpt_comparisons}]"
    with pytest.raises(ConfigError, match="script"):
        rehearsed("apo-hh", sources)


def test_gold_that_does_not_know_the_prompts_of_the_run(workplace: Workplace) -> None:
    folder = workplace("llama-2-7b")
    write_gold(folder / "other.jsonl")
    gold = ("gold.provider=file", f"gold.path={folder / 'other.jsonl'}")
    where, why = only_failure(rehearsed("apo-pairs", *gold))
    assert where == "collect_gold" and "no gold response for" in why


def test_pairs_that_make_way_for_golds_prompts(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every query of the reward model is named, as `sparring gold prompts` writes them."""
    folder, gold = workplace("llama-2-7b"), "gold={path: queries.jsonl}"
    asked = read_config(find_flow("apo"), CONFIGS / "apo-pairs.yaml", [gold])
    write_gold_prompts(asked, folder / "queries.jsonl")
    leaves = prepare._Preparation._leaves

    def drops(run: Any, name: str, group: Group, reasons: tuple[str, ...]) -> bool:
        is_named = name == "preferences" and prepare._turn(group) in run._query_turns
        return is_named or leaves(run, name, group, reasons)

    monkeypatch.setattr(prepare._Preparation, "_leaves", drops)
    found = rehearsed("apo-pairs", gold, "data.rm_queries=[{path: queries.jsonl}]")
    where, why = only_failure(found)
    assert where == "prepare_data" and "nothing is left for rm_train" in why


def test_a_cue_that_stands_twice(workplace: Workplace, tmp_path: Path) -> None:
    """By the command, which says it as a document and ends with 1."""
    workplace("pythia-2.8b")
    planted = (CONFIGS / "exo-tldr.yaml").read_text().replace(', cue: "TL;DR:"', "")
    (tmp_path / "exo-tldr.yaml").write_text(planted)
    command = ["rehearse", "exo", "-c", str(tmp_path / "exo-tldr.yaml"), "--json"]
    result = CliRunner().invoke(app, [*command, "--device", "h100"])
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    first = found["failures"][0]
    assert "TL;DR:" in first["why"] and first["where"] in found["stages"]
    assert "write_exo_report" in found["missed"]
    # What the real run needs is said all the same, and that PPO has no room on such a GPU.
    assert any("update_policy_by_ppo" in one["where"] for one in found["failures"][1:])
    assert found["paid_calls"] == 0 and found["dollars"] is None
