from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks.engine import rows as all_rows
from benchmarks.engine.__main__ import QUICK
from benchmarks.engine.padded_path import count_padded, padded_logps
from benchmarks.engine.rows import Row, Side
from benchmarks.engine.running import Run, chosen_rows, table
from benchmarks.engine.setting import encoded, pairs, prepared, texts
from benchmarks.engine.training_plan import Training, ordered, plan_of
from benchmarks.engine.worker import Block
from tasks.data.batches import BatchPlan
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import group_tokens
from tasks.models.policy import load_policy
from tasks.settings.errors import ConfigError

ROWS = [*all_rows.rows(), *all_rows.rows(quick=True), *all_rows.grid()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(QUICK, tmp_path_factory.mktemp("bench"), "cpu")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_side_takes_its_options(row: Row) -> None:
    for side in (row.ours, *row.peers):
        module, function = side.function.split(":")
        found = inspect.signature(getattr(import_module(module), function))
        found.bind(None, None, None, **side.options)
        json.dumps(side.options)


def test_the_floors_of_the_table() -> None:
    found = {row.name: (row.floor, row.goal) for row in all_rows.rows()}
    assert found["dpo-k2"] == (6.0, 9.0)
    assert found["rm"] == (3.5, 5.0)
    assert found["k8"] == (4.5, 7.0)
    assert found["ava-p"] == (0.67, None), "at most 1.5 times the time of Bradley-Terry"
    assert found["sampling-bf16"] == (4.0, 6.0)
    assert found["sampling-fp32"] == (5.0, 8.0)


def test_a_training_has_data_for_every_pair_of_blocks() -> None:
    assert Training().blocks == all_rows.MOST_PAIRS + 1


def test_an_unknown_row_is_named_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no row k9; the rows are dpo-k2, rm"):
        chosen_rows(all_rows.rows(), ["k9"])


def test_a_setting_is_prepared_once_and_whole(folder: Path) -> None:
    again = prepared(QUICK, folder.parent, "cpu")
    assert again == folder
    for size in (2, 4, 8):
        found = texts(folder, size, 1000)
        assert len(found) == QUICK.pairs
        assert {len(group.responses) for group in found} == {size}
    two, eight = texts(folder, 2, 1)[0], texts(folder, 8, 1)[0]
    assert eight.responses[:2] == two.responses
    policy, reference = (
        load_policy(folder / name).state_dict() for name in ("policy", "reference")
    )
    assert any(not torch.equal(policy[name], reference[name]) for name in policy)


def test_without_the_pairs_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    with pytest.raises(ConfigError, match="SPARRING_DATA"):
        list(pairs(QUICK.model_copy(update={"source": "hh"})))


def test_peers_take_the_groups_in_the_order_of_our_plan(folder: Path) -> None:
    training = Training(batch=4, warm=1, block=2, blocks=2)
    groups = encoded(folder, QUICK.limits, 2, training.groups)
    found = ordered(groups, training, "selected")
    plan = BatchPlan({"selected": 20}, 4, epochs=1, seed=0)
    assert training.steps == plan_of(training, "selected").steps == plan.steps == 5
    assert found[4:8] == [groups[row] for row in plan.at(1)["selected"]]


def test_the_padded_path_gives_the_same_log_probabilities(folder: Path) -> None:
    groups = encoded(folder, QUICK.limits, 4, 3)
    model = load_policy(folder / "policy", dtype="float32")
    with torch.no_grad():
        plain, lengths = padded_logps(model, groups, "fp32", "cpu")
        policy = GroupPolicy(model)
        batch = policy.batch(groups, 0)
        torch.testing.assert_close(policy(batch), plain, rtol=1e-5, atol=1e-4)
    assert torch.equal(lengths, batch.lengths)


def test_waste_counts_pads_and_repeated_prompts(folder: Path) -> None:
    group = encoded(folder, QUICK.limits, 2, 1)[0]
    prompt, (a, b) = len(group.prompt_ids), map(len, group.responses_ids)
    count_padded(block := Block(), [group])
    assert block.computed == 2 * (prompt + max(a, b))
    assert block.needed == group_tokens(group) == prompt + a + b


@pytest.mark.slow
def test_rows_without_peers_libraries_run_end_to_end(folder: Path, tmp_path: Path) -> None:
    names = ["k4", "ava-p", "reference", "scoring", "sampling-fp32", "own-gradient-checkpointing"]
    run = Run(QUICK, folder, pairs=1, most=1)
    assert table(run, chosen_rows(all_rows.rows(quick=True), names), tmp_path / "table.json")
    found = json.loads((tmp_path / "table.json").read_text())
    assert [row["row"] for row in found["rows"]] == names
    assert found["rows"][0]["ours_waste"] <= 0.05 < found["rows"][0]["peer_waste"]
    assert all(row["ours_gb"] > 0 and row["peer_gb"] > 0 for row in found["rows"])


@pytest.mark.slow
def test_a_row_that_fails_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Row(
        "broken",
        "",
        "",
        Side("", "tests.benchmarks.engine.sides:breaking"),
        (Side("", "tests.benchmarks.engine.sides:breaking"),),
        1.0,
    )
    good = chosen_rows(all_rows.grid(quick=True), ["grid-size-2"])
    assert not table(Run(QUICK, folder, pairs=1, most=1), [broken, *good], None)
    shown = capsys.readouterr().out
    assert "grid-size-2" in shown and "not measured: broken" in shown
