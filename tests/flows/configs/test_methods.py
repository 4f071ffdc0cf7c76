"""`--set policy.method=X`, and `methods` of exo: every method works on every shipped config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.registry import CONFIGS, FLOWS, read_config
from tasks.settings.errors import ConfigError
from tasks.training.methods.method import TqrMethod
from tasks.training.methods.registry import METHODS
from tasks.training.methods.reward_objectives import AVA_P, REWARD_OBJECTIVES

OF_APO = [one for one in METHODS.values() if one.trains and not isinstance(one, TqrMethod)]
VARIABLES = (
    "SPARRING_DATA",
    "BASE_MODEL",
    "GOLD",
    "GPT4LLM",
    "PAIRS",
    "PROMPTS",
    "SUBSET",
    "REWARD_MODEL",
)


@pytest.fixture(autouse=True)
def everything_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path))


def shipped(flow: str) -> list[Path]:
    return sorted(CONFIGS.glob(f"{flow}-*.yaml"))


def read(flow: str, config: Path, *overrides: str) -> Any:
    return read_config(FLOWS[flow], config, overrides)


@pytest.mark.parametrize("config", shipped("apo"), ids=lambda path: path.stem)
@pytest.mark.parametrize("method", OF_APO)
def test_every_method_updates_the_policy_of_every_config(config: Path, method: Any) -> None:
    for name in (method.name, *method.aliases):
        found = read("apo", config, f"policy.method={name}")
        assert found.policy.method == method.name
        if method.is_online:
            assert found.ppo_at_epoch(1).actor_learning_rate == found.policy.rate_at(1)
        else:
            update = found.policy.at_epoch(1)
            assert update.in_key() == update and update.method == method.name
            assert {*update.coefficients.model_dump()} <= {method.name}
    # The file's own method has the file's coefficients still.
    own = read("apo", config).policy
    back = read("apo", config, f"policy.method={method.name}", f"policy.method={own.method}")
    assert back.policy.own_coefficients == own.own_coefficients


@pytest.mark.parametrize("config", shipped("apo"), ids=lambda path: path.stem)
@pytest.mark.parametrize("objective", sorted({AVA_P, *REWARD_OBJECTIVES} - {"bradley_terry"}))
def test_every_objective_updates_the_reward_model_of_every_config(
    config: Path, objective: str
) -> None:
    # What goes on from RM_Base cannot go on from a TQR.
    alone = ("reward.ablations=[]", "reward.ablation_games=[]") if objective == AVA_P else ()
    found = read("apo", config, f"reward.objective={objective}", *alone)
    assert found.reward.objective == objective


@pytest.mark.parametrize("config", shipped("exo"), ids=lambda path: path.stem)
def test_the_reward_model_of_every_exo_config_may_be_a_tqr(config: Path) -> None:
    found = read("exo", config, f"reward.objective={AVA_P}")
    assert found.reward.of_ava_p(plays=False).training == found.reward.training


@pytest.mark.parametrize("config", shipped("exo"), ids=lambda path: path.stem)
@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_is_a_choice_of_every_exo_config(config: Path, method: Any) -> None:
    every = read("exo", config).all_branches()
    for name in (method.name, *method.aliases):
        found = read("exo", config, f"methods={name}").all_branches()
        assert {branch.method for branch in found} == {method.name}
        assert found == ([one for one in every if one.method == method.name] or found[:1])


@pytest.mark.parametrize(
    ("flow", "wrong", "said"),
    [
        ("apo", "policy.method=dop", "policy.method: got 'dop'; .*did you mean 'dpo'"),
        ("apo", "policy.method=ava_p", "got 'ava_p'; ava_p trains a policy in the flows exo"),
        ("apo", "sft.method=stf", "sft.method: got 'stf'; .*did you mean 'sft'"),
        ("apo", "reward.objective=wagn", "reward.objective: got 'wagn'.*did you mean 'wgan'"),
        ("exo", "branches.0.method=exo_rv", "branches.0.method: got .*did you mean 'exo_rw'"),
        ("exo", "methods=[ppo, dop]", "methods.1: got 'dop'; .*did you mean 'dpo'"),
    ],
)
def test_a_misspelt_method_is_one_sentence(flow: str, wrong: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_config(FLOWS[flow], None, [wrong])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("flow", ["apo", "exo"])
def test_demonstrations_alone_are_refused(flow: str) -> None:
    change = ["data.playground=null", "data.demonstrations=[{path: a.jsonl}]"]
    with pytest.raises(ConfigError, match=f"{flow} learns from pairs and `data` has .* alone"):
        read(flow, CONFIGS / f"{flow}-tiny.yaml", *change)
