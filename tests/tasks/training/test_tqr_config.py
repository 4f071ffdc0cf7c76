"""Each objective names the model it trains, and its key holds what it reads."""

from __future__ import annotations

import pytest

from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import key_settings
from tasks.training.ava_config import AvaWeights
from tasks.training.tqr_config import TqrUpdateConfig


def test_the_baselines_have_models_of_their_own() -> None:
    given = {"tqr": TqrConfig(rwt_width=7, alpha=2.0)}
    linear = TqrUpdateConfig(objective="bradley_terry", **given).model
    assert (linear.rwt, linear.score) == (False, "last")
    weighted = TqrUpdateConfig(objective="preference_transformer", **given).model
    assert (weighted.rwt_scale, weighted.rwt_width, weighted.score) == ("sum1", 7, "return")
    assert TqrUpdateConfig(objective="ava_d", **given).model == given["tqr"]


@pytest.mark.parametrize(
    ("objective", "given", "is_read"),
    [
        ("ava_p", {"ava": AvaWeights(b_neg=0.5)}, True),
        ("ava_d", {"ava": AvaWeights(b_neg=0.5)}, False),
        ("ava_d", {"ava": AvaWeights(lam=0.25)}, True),
        ("ava_d", {"ava": AvaWeights(strict_sum=True, reduction="sum")}, True),
        ("bradley_terry", {"ava": AvaWeights(lam=0.25, strict_sum=True)}, False),
        ("bradley_terry", {"tqr": TqrConfig(rwt_width=7)}, False),
        ("preference_transformer", {"tqr": TqrConfig(rwt_width=7)}, True),
        ("preference_transformer", {"tqr": TqrConfig(alpha=2.0)}, False),
    ],
)
def test_the_key_has_what_the_objective_reads(objective: str, given: dict, is_read: bool) -> None:
    plain, changed = (key_settings(TqrUpdateConfig(objective=objective, **g)) for g in ({}, given))
    assert (plain != changed) == is_read


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"training": {"dropout": 0.1}}, "dropout is 0.1.*set it to 0"),
        ({"training": {"lora": {"dropout": 0.2}}}, "dropout is 0.2.*set it to 0"),
        ({"limits": {"max_response_tokens": 1}}, "no room for a token and its end"),
        ({"ava": {"lam": 2.0}}, "unbounded below"),
        ({"ava": {"kl_range": "actions"}, "tqr": {"reward_shift": 1}}, "after its end"),
        ({"ava": {"terminal_td": True}}, "set kl_range: actions"),
        ({"tqr": {"rwt_source": "last_attn"}}, "rwt_source.*scored position"),
        ({"tqr": {"score_position": "eos"}}, "score_position.*never trained"),
        ({"objective": "ava_d", "gold": {}}, "ava_d imitates.*gold against samples is for ava_p"),
    ],
)
def test_what_cannot_be_trained_is_refused(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TqrUpdateConfig(**given)


def test_without_gold_the_key_is_as_if_there_were_none() -> None:
    """What was trained before gold could be learnt from stays done."""
    assert "gold" not in key_settings(TqrUpdateConfig())
    assert key_settings(TqrUpdateConfig(gold={}))["gold"] == {
        "beta_2": 10.0,
        "split_samples": False,
    }
