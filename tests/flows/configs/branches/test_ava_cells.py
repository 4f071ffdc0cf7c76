"""Data, pipeline, objective and ablation: which of the product are cells, and why not the rest."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from pydantic import ValidationError

from flows.configs.branches.ava_cells import (
    Ablation,
    ArmConfig,
    Cell,
    DataKind,
    Objective,
    Pipeline,
    refusal,
)
from tasks.models.tqr.config import TqrConfig
from tasks.training.ava_config import AvaWeights

WHOLE, ANY = ("none",), ("none", "rwt", "neg", "irl", "cer", "ptq")
MODEL, LOSS = ("none", "rwt", "ptq"), ("none", "rwt", "neg", "irl", "cer")
TABLE = {
    ("preferences", "reward_model", "ava_p"): ANY,
    ("preferences", "reward_model", "ava_d"): MODEL,
    ("preferences", "reward_model", "bradley_terry"): WHOLE,
    ("preferences", "reward_model", "preference_transformer"): WHOLE,
    ("preferences", "direct", "ava_p"): LOSS,
    ("preferences", "direct", "ava_d"): ("none", "rwt"),
    ("preferences", "direct", "dpo"): WHOLE,
    ("preferences", "direct", "sft"): WHOLE,
    ("demonstrations", "reward_model", "ava_d"): MODEL,
    ("demonstrations", "direct", "ava_d"): ("none", "rwt"),
    ("demonstrations", "direct", "sft"): WHOLE,
    ("afd", "reward_model", "ava_p"): ANY,
    ("afd", "reward_model", "bradley_terry"): WHOLE,
    ("afd", "reward_model", "preference_transformer"): WHOLE,
    ("afd", "direct", "ava_p"): LOSS,
    ("afd", "direct", "dpo"): WHOLE,
}
"""Written by hand from the paper's tables; the ablations of each arm."""
PRODUCT = [Cell(*v) for v in product(*map(get_args, (DataKind, Pipeline, Objective, Ablation)))]


def test_the_whole_product() -> None:
    """3 data × 2 pipelines × 6 objectives × 6: each is a cell of the table, or refused by name."""
    assert len(PRODUCT) == 216
    for cell in PRODUCT:
        is_cell = cell.ablation in TABLE.get(cell[:3], ())
        reason = refusal(cell)
        assert (reason is None) == is_cell, (cell.label, reason)
        values = {name: getattr(cell, name) for name in Cell._fields[:4]}
        if is_cell:
            assert list(ArmConfig(**values).cells(seed=0)) == [cell]
        else:
            assert cell.objective in reason or cell.ablation in reason
            with pytest.raises(ValidationError) as refused:
                ArmConfig(**values)
            assert reason in str(refused.value)
    valid = [cell for cell in PRODUCT if refusal(cell) is None]
    assert len(valid) == sum(map(len, TABLE.values())) == 40


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (("demonstrations", "direct", "ava_p"), "ava_p learns from pairs and demonstrations have"),
        (("afd", "direct", "ava_d"), "ava_d imitates single responses"),
        (("preferences", "direct", "bradley_terry"), "trains a reward model and no policy"),
        (("preferences", "reward_model", "dpo"), "trains a policy and no reward model"),
        (("preferences", "direct", "ava_p", "ptq"), "without ptq the Q head is new"),
        (("preferences", "reward_model", "ava_d", "neg"), "ava_d has no neg: .* ava_p alone"),
        (("preferences", "direct", "sft", "rwt"), "sft has no ablation: rwt is a part of AVA"),
    ],
)
def test_each_reason_is_said(cell: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ArmConfig(**dict(zip(Cell._fields, cell, strict=False)))


def test_lists_are_every_combination_with_every_seed() -> None:
    arm = ArmConfig(objective="ava_p", ablation=["none", "rwt"], seeds=[3, 4])
    assert [cell.label for cell in arm.cells(seed=0)] == [
        "ava_p, reward_model on preferences, s3",
        "ava_p, reward_model on preferences, s4",
        "ava_p w/o rwt, reward_model on preferences, s3",
        "ava_p w/o rwt, reward_model on preferences, s4",
    ]
    (alone,) = ArmConfig(objective="sft", pipeline="direct").cells(seed=7)
    assert alone.seed == 7
    with pytest.raises(ValidationError, match="pipeline is reward_model"):
        ArmConfig(objective=["ava_p", "bradley_terry"], pipeline=["reward_model", "direct"])


def test_an_ablation_changes_its_part_alone() -> None:
    tqr, weights = TqrConfig(alpha=2.0, rwt_scale="sum1"), AvaWeights(lam=0.25)
    expected = {
        "none": (tqr, weights),
        "rwt": (TqrConfig(alpha=2.0, rwt=False), weights),
        "ptq": (TqrConfig(ptq=False, rwt_scale="sum1"), weights),
        "neg": (tqr, AvaWeights(lam=0.25, b_neg=0.0, irl_on="chosen")),
        "irl": (tqr, AvaWeights(lam=0.0, c_kl=0.0)),
        "cer": (tqr, AvaWeights(lam=0.25, c_cer=0.0)),
    }
    for part, wanted in expected.items():
        cell = Cell("preferences", "reward_model", "ava_p", part)
        assert (cell.tqr(tqr), cell.weights(weights)) == wanted
