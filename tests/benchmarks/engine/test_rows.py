from __future__ import annotations

import inspect
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks.engine import rows as all_rows
from benchmarks.engine.__main__ import QUICK
from benchmarks.engine.peers import Peer, Side
from benchmarks.engine.preparing import prepared
from benchmarks.engine.rows import Row
from benchmarks.engine.running import Run, chosen_rows, table
from benchmarks.engine.search import Variants
from benchmarks.engine.setting import PROMPTS, REAL, encoded, pairs, texts
from benchmarks.engine.sides.padded_path import count_padded, padded_logps
from benchmarks.engine.sides.training_plan import Training, micro_batches, ordered, plan_of
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
    choices = list(row.peer.variants.combinations())
    for side in (
        row.ours,
        row.peer.set_to(choices[-1]),
        row.peer.set_to(choices[0], searching=True),
    ):
        module, function = side.function.split(":")
        found = inspect.signature(getattr(import_module(module), function))
        found.bind(None, None, None, **side.options)
        json.dumps(side.options)


def test_the_floors_of_the_table() -> None:
    found = {row.name: (row.floor, row.goal) for row in all_rows.rows()}
    assert found["dpo-k2"] == (4.0, 6.0)
    assert found["rm"] == (2.5, 4.0)
    assert found["k8"] == (4.5, 7.0)
    assert found["sampling-vllm"] == (1.1, 1.8)
    assert found["ava-p"] == (0.67, None), "at most 1.5 times the time of Bradley-Terry"
    assert found["sampling-bf16"] == (4.0, 6.0)
    assert found["sampling-fp32"] == (5.0, 8.0)
    dpo = all_rows.rows()[0]
    assert (dpo.memory_floor, dpo.memory_goal) == (0.8, 0.5)


def test_what_is_promised_of_tuned_peers_is_measured_at_real_size() -> None:
    usual = chosen_rows(all_rows.rows(), None)
    assert [row.name for row in usual if row.real] == ["dpo-k2", "rm", "k8", "sampling-vllm"]
    assert len(chosen_rows(all_rows.rows(), ["all"])) > len(usual)
    run = Run(QUICK, Path(), real=REAL)
    assert [run.setting_of(row).pretrained != "" for row in usual] == [row.real for row in usual]
    assert Run(QUICK, Path()).setting_of(usual[0]) is QUICK


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
    assert len(json.loads((folder / PROMPTS).read_text())) == 64
    policy, reference = (
        load_policy(folder / name).state_dict() for name in ("policy", "reference")
    )
    assert any(not torch.equal(policy[name], reference[name]) for name in policy)


def test_without_the_pairs_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    with pytest.raises(ConfigError, match="SPARRING_DATA"):
        list(pairs(QUICK.model_copy(update={"source": "hh"})))


def test_without_the_pretrained_model_it_says_what_makes_it(tmp_path: Path) -> None:
    absent = QUICK.model_copy(update={"pretrained": "models/absent"})
    with pytest.raises(ConfigError, match="no model in models/absent: `make model` brings it"):
        prepared(absent, tmp_path, "cpu")


def test_a_pretrained_model_has_a_reference_a_little_beside_it(
    folder: Path, tmp_path: Path
) -> None:
    setting = QUICK.model_copy(update={"pretrained": str(folder / "policy"), "pairs": 8})
    made = prepared(setting, tmp_path, "cpu")
    policy, reference = (load_policy(made / name) for name in ("policy", "reference"))
    beside = zip(policy.parameters(), reference.parameters(), strict=True)
    with torch.no_grad():
        apart = [float((a - b).norm() / a.norm()) for a, b in beside]
    assert all(0.015 < one < 0.025 for one in apart)
    assert setting.template is None and len(encoded(made, setting, 8, 99)) == 8


def test_peers_take_the_groups_in_the_order_of_our_plan(folder: Path) -> None:
    training = Training(batch=4, warm=1, block=2, blocks=2)
    groups = encoded(folder, QUICK, 2, training.groups)
    found = ordered(groups, training, "selected")
    plan = BatchPlan({"selected": 20}, 4, epochs=1, seed=0)
    assert training.steps == plan_of(training, "selected").steps == plan.steps == 5
    assert found[4:8] == list(plan.at(1)["selected"])


def test_by_length_each_step_has_the_same_groups_the_short_ones_first(folder: Path) -> None:
    training = Training(batch=4, warm=1, block=2, blocks=2)
    groups = encoded(folder, QUICK, 2, training.groups)
    plain, by_length = (
        ordered(groups, training, "selected", by_length=sort) for sort in (False, True)
    )
    assert plain != by_length
    waste = []
    for order in (plain, by_length):
        block = Block()
        for step in range(training.steps):
            rows = slice(4 * step, 4 * step + 4)
            assert sorted(order[rows]) == sorted(plain[rows])
            for part in micro_batches(training, step, 2):
                count_padded(block, [groups[row] for row in order[part]])
        waste.append(block.computed)
    assert waste[1] < waste[0]
    assert micro_batches(training, 1, 3) == [slice(4, 7), slice(7, 8)]


def test_the_padded_path_gives_the_same_log_probabilities(folder: Path) -> None:
    groups = encoded(folder, QUICK, 4, 3)
    model = load_policy(folder / "policy", dtype="float32")
    with torch.no_grad():
        plain, lengths = padded_logps(model, groups, "fp32", "cpu")
        policy = GroupPolicy(model)
        batch = policy.batch(groups, 0)
        torch.testing.assert_close(policy(batch), plain, rtol=1e-5, atol=1e-4)
    assert torch.equal(lengths, batch.lengths)


def test_waste_counts_pads_and_repeated_prompts(folder: Path) -> None:
    group = encoded(folder, QUICK, 2, 1)[0]
    prompt, (a, b) = len(group.prompt_ids), map(len, group.responses_ids)
    count_padded(block := Block(), [group])
    assert block.computed == 2 * (prompt + max(a, b))
    assert block.needed == group_tokens(group) == prompt + a + b


@pytest.mark.slow
def test_rows_without_peers_libraries_run_end_to_end(folder: Path, tmp_path: Path) -> None:
    names = ["k4", "ava-p", "reference", "scoring", "sampling-fp32", "own-gradient-checkpointing"]
    run = Run(QUICK, folder, pairs=1, most=1)
    assert table(run, chosen_rows(all_rows.rows(quick=True), names), tmp_path / "rows.jsonl")
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["row"] for row in found] == names
    assert len(found[0]["tried"]) == 2, "in the plan's order, and sorted by length"
    assert found[0]["ours_waste"] <= 0.05 < found[0]["peer_waste"]
    assert all(row["ours_gb"] > 0 and row["peer_gb"] > 0 for row in found)


@pytest.mark.slow
def test_rows_against_trl_train_the_same_by_every_setting(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    names = ["dpo-k2", "rm"]
    wide = [
        replace(row, peer=replace(row.peer, variants=variants))
        for row in chosen_rows(all_rows.rows(quick=True), names)
        for variants in (_alone(row, 0), _alone(row, -1))
    ]
    assert table(Run(QUICK, folder, pairs=1, most=1), wide, tmp_path / "rows.jsonl")


def _alone(row: Row, place: int) -> Variants:
    """Return one setting: micro-batches of 1, all else at its first or last value."""
    last = {name: (False, True)[place] for name in row.peer.variants.alone}
    chosen = {"micro_batch": 1, "by_length": (False, True)[place]} | last
    return Variants({name: (value,) for name, value in chosen.items()})


@pytest.mark.slow
def test_a_row_that_fails_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Row(
        "broken",
        "",
        "",
        Side("", "tests.benchmarks.engine.sides:breaking"),
        Peer("", "tests.benchmarks.engine.sides:breaking"),
        1.0,
    )
    good = chosen_rows(all_rows.grid(quick=True), ["grid-size-2"])
    assert not table(Run(QUICK, folder, pairs=1, most=1), [broken, *good], None)
    shown = capsys.readouterr().out
    assert "grid-size-2" in shown and "not measured: broken" in shown
