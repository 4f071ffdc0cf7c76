"""Reward models by one score or as TQRs: what trains each, from what, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.apo import apo
from flows.configs.apo import ApoConfig
from flows.configs.exo import ExoConfig
from flows.exo import exo
from flows.steps.reward_models import reward_init
from tasks.models.tqr.config import TqrConfig
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tests.flows.command import SMALL
from tests.flows.steps.noted_calls import Made, made, result_of

EXO = SMALL.with_name("exo-small.yaml")
KEY = "0" * 64
AVA_P = "reward.objective=ava_p"


def config(kind: Any, file: Path, *overrides: str) -> Any:
    return validate(kind, apply_overrides(load_config(file), overrides), file.name)


def by_title(calls: list[StageCall]) -> dict[str, StageCall]:
    return {call.title: call for call in calls}


def test_the_game_is_played_by_tqrs_and_judged_by_one_score(calls: list[StageCall]) -> None:
    """RM_Base is a TQR of human pairs alone; the adapted one learns from gold too, afresh."""
    wanted = ("reward.beta_2=7", "reward.ablations=[]", "reward.ablation_games=[apo_rm]")
    apo.fn(config(ApoConfig, SMALL, AVA_P, "reward.tqr.alpha=2", "reward.ava.lam=0.25", *wanted))
    found = by_title(calls)
    base, adapted = found["update_tqr · RM_Base"], found["update_tqr · RM_APO-v1"]
    assert "apo" not in base.inputs and "gold" not in base.config
    assert adapted.inputs["apo"].digest == result_of(found["pair_with_gold · RM_APO-v1"]).digest
    assert adapted.config["gold"] == {"beta_2": 7.0, "split_samples": False}
    for call in (base, adapted):
        assert call.inputs["base"].digest == result_of(found["update_policy · SFT"]).digest
        assert call.inputs["groups.0"].digest.endswith("/rm_train")
        assert call.config["objective"] == "ava_p" and call.config["tqr"]["alpha"] == 2
        assert call.config["ava"]["lam"] == 0.25
    assert {"update_reward_model · RM_Test", "update_reward_model · RM_All"} <= found.keys()
    assert "update_reward_model · RM_APO_RM-v1" in found, "Eq. 17 itself plays beside it"
    scored = found["score_responses · APO-DPO-v1"]
    assert scored.inputs["reward_model"].digest == result_of(adapted).digest
    baseline = found["score_responses · DPO-v1"]
    assert baseline.inputs["reward_model"].digest == result_of(base).digest


def test_a_tqr_is_the_reward_model_of_exo(calls: list[StageCall]) -> None:
    exo.fn(config(ExoConfig, EXO, AVA_P, "branches=[{method: best_of_n}, {method: ppo}]"))
    found = by_title(calls)
    trained = found["update_tqr · RM"]
    assert "apo" not in trained.inputs and trained.config["objective"] == "ava_p"
    picked = found["score_responses · test τ0.8 K128"]
    assert picked.inputs["reward_model"].digest == result_of(trained).digest
    ppo = found["update_policy_by_ppo · PPO s0"]
    assert ppo.inputs["reward_model"].digest == result_of(trained).digest


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes what `start.reward_model` names a TQR of some settings, or a model with one score."""

    def start(tqr: TqrConfig | None) -> Made:
        stage = "update_tqr" if tqr else "update_reward_model"
        model = replace(made("finished"), stage=stage, label="start reward_model")
        monkeypatch.setattr("flows.steps.reward_models.start_artifact", lambda *_: model)
        monkeypatch.setattr("flows.steps.reward_models.tqr_of", lambda _: tqr)
        monkeypatch.setattr("flows.steps.tqr_starts.tqr_of", lambda _: tqr)
        return model

    return start


STARTED = f"start.reward_model=update_tqr/{KEY}"


@pytest.mark.parametrize(("kind", "file"), [(ApoConfig, SMALL), (ExoConfig, EXO)])
def test_a_finished_tqr_is_gone_on_from(kind: Any, file: Path, started: Any) -> None:
    model = started(TqrConfig(rwt_width=8))
    wanted = ("reward.tqr.rwt_width=8", AVA_P)
    if kind is ApoConfig:
        wanted += ("reward.ablations=[]",)
    found = config(kind, file, STARTED, *wanted)
    assert reward_init(found, made("policy")) == model
    assert reward_init(config(kind, file), made("policy")) == made("policy")


@pytest.mark.parametrize(
    ("tqr", "wanted", "words"),
    [
        (None, (AVA_P,), "output of update_reward_model: it has one score and no output head"),
        (TqrConfig(), (), "is a TQR, and bradley_terry goes on from .* reward.objective to ava_p"),
        (TqrConfig(alpha=2), (AVA_P,), r"other settings .*alpha 1.0, and its own is 2.0"),
        (TqrConfig(ptq=False), (AVA_P, "reward.tqr.ptq=false"), "a TQR without ptq"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(
    tqr: TqrConfig | None, wanted: tuple[str, ...], words: str, started: Any
) -> None:
    started(tqr)
    with pytest.raises(ConfigError, match=words):
        reward_init(config(ExoConfig, EXO, STARTED, *wanted), made("policy"))


def test_a_start_that_is_a_tqr_of_other_settings_is_refused(started: Any) -> None:
    started(TqrConfig(q_map="prob"))
    with pytest.raises(ConfigError, match="other settings than reward.tqr says: q_map logit"):
        reward_init(config(ExoConfig, EXO, AVA_P), made("policy"))


@pytest.mark.parametrize(
    ("flow", "overrides", "words"),
    [
        ("apo", ("reward.ava.lam=0.25",), "ava is of the objective ava_p, and nothing here"),
        ("exo", ("reward.tqr.alpha=2",), "tqr is of the objective ava_p, and nothing here"),
        ("exo", (AVA_P, "reward.ava.lam=2"), "lam is 2 and c_kl 1: above c_kl"),
        ("exo", (AVA_P, "reward.training.dropout=0.1"), "ava_p cannot be trained so: dropout is"),
        ("apo", (AVA_P, "reward.ablations=[ab]"), "ab goes on from RM_Base, .* is a TQR"),
        ("apo", (AVA_P, "reward.ablation_games=[sequential]"), "sequential goes on from RM_Base"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    flow: str, overrides: tuple[str, ...], words: str
) -> None:
    kind, file = (ApoConfig, SMALL) if flow == "apo" else (ExoConfig, EXO)
    with pytest.raises(ConfigError, match=words):
        config(kind, file, *overrides)


def test_an_ablation_by_ava_p_has_its_settings_too() -> None:
    found = config(ApoConfig, SMALL, "reward.ablations=[ava_p]", "reward.ava.lam=0.25")
    assert found.reward.unadapted == "bradley_terry"
    assert found.reward.of_ava_p(plays=True).ava.lam == 0.25
