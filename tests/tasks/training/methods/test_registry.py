"""Methods by name, and the responses each of them learns from."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tasks.data.groups import Group, Message
from tasks.settings.errors import ConfigError
from tasks.training.config import PolicyConfig, RewardConfig
from tasks.training.methods.registry import (
    GROUP_METHODS,
    METHODS,
    get_group_method,
    get_method,
)
from tasks.training.methods.rrhf import RrhfConfig

PROMPT = (Message("user", "tea?"),)


def group(*scores: float) -> Group:
    texts = tuple(f"r{index}" for index in range(len(scores)))
    return Group(PROMPT, texts, scores, sources=texts)


@pytest.mark.parametrize(
    ("method", "given", "kept"),
    [
        ("rjs", (1.0, 3.0, 3.0), [("r1",)]),
        ("rjs", (1.0,), [("r0",)]),
        ("dpo", (2.0, 1.0, 3.0), [("r2", "r1")]),
        ("dpo", (2.0, 2.0, 2.0), []),
        ("rrhf", (2.0, 1.0, 3.0), [("r0", "r1", "r2")]),
        ("sft", (0.0,), [("r0",)]),
        ("exo_pref", (2.0, 1.0, 3.0), [("r2", "r1")]),
        ("exo_pref", (2.0, 2.0), []),
        ("exo_rw", (2.0, 1.0, 2.0), [("r0", "r1", "r2")]),
        ("exo_rw", (2.0, 2.0, 2.0), []),
        ("dpo_rw", (2.0, 1.0, 2.0), [("r0", "r1", "r2")]),
        ("dpo_rw", (2.0, 2.0, 2.0), []),
    ],
)
def test_selection(method, given, kept):
    selected = get_group_method(method).select(group(*given))
    assert [chosen.responses for chosen in selected] == kept
    for chosen in selected:
        assert chosen.sources == chosen.responses
        assert chosen.scores == tuple(given[int(name[1])] for name in chosen.responses)
        assert chosen.id == group(1.0).id


def test_aliases_and_unknown_names():
    assert get_group_method("raft") is GROUP_METHODS["rjs"]
    assert get_group_method("sigmoid") is GROUP_METHODS["dpo"]
    assert get_group_method("exo_pair") is get_group_method("exo-pref") is GROUP_METHODS["exo_pref"]
    assert get_group_method("exo-rw") is GROUP_METHODS["exo_rw"]
    assert get_group_method("dpo-rw") is GROUP_METHODS["dpo_rw"]
    with pytest.raises(ConfigError, match="'dop'; did you mean 'dpo'.*known: dpo, dpo-rw, dpo_rw"):
        get_group_method("dop")


def test_methods_without_groups_are_methods_that_update_policy_does_not_know():
    assert get_method("ppo").is_online and not get_method("best_of_n").trains
    for name in ("ppo", "best_of_n"):
        with pytest.raises(ConfigError, match=f"unknown policy method '{name}'"):
            get_group_method(name)


def test_what_a_method_says_of_others_and_of_itself_is_so():
    names = [name for method in METHODS.values() for name in (method.name, *method.aliases)]
    assert len(names) == len(set(names))
    for method in METHODS.values():
        assert {*method.rivals, *filter(None, [method.on_pairs])} <= METHODS.keys()
        for rival in method.rivals:
            assert METHODS[rival].learns_from == method.learns_from
    for method in GROUP_METHODS.values():
        wanted = {one.coefficient for one in method.sweepable}
        assert wanted <= method.coefficients.model_fields.keys()
        # The values a sweep takes by itself are values that the method takes.
        usual = {one.coefficient: one.default for one in method.sweepable if one.default}
        assert method.coefficients(**usual)


def test_no_two_methods_are_drawn_alike():
    looks = [(method.colour, method.marker) for method in METHODS.values() if method.colour]
    assert len(looks) == len(set(looks)) > 0


def test_unscored_groups_are_refused():
    with pytest.raises(ConfigError, match="score the responses first"):
        get_group_method("rjs").select(Group(PROMPT, ("a", "b")))


def test_coefficients_belong_to_the_method():
    config = PolicyConfig(method="sigmoid", coefficients={"dpo": {"beta": 0.5}})
    assert (config.method, config.own_coefficients.beta) == ("dpo", 0.5)
    assert PolicyConfig.model_validate(config.model_dump(mode="json")) == config
    assert isinstance(PolicyConfig(method="rrhf").own_coefficients, RrhfConfig)
    with pytest.raises(ValueError, match="'beta' in CoefficientsByMethod; known keys: rrhf, dpo"):
        PolicyConfig(method="dpo", coefficients={"beta": 0.5})
    assert PolicyConfig.model_json_schema()


@pytest.mark.parametrize(
    ("method", "bad"),
    [
        ("exo_pref", {"epsilon": 0.0}),
        ("exo_pref", {"epsilon": 0.5}),
        ("exo_pref", {"beta_pi": 0.0}),
        ("exo_rw", {"beta_pi": -1.0}),
        ("exo_rw", {"beta_r": 0.0}),
        ("dpo_rw", {"beta_r": -0.1}),
        ("dpo_rw", {"responses": 1}),
    ],
)
def test_coefficients_out_of_range_are_refused_by_name(method, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PolicyConfig(coefficients={method: bad})


def test_methods_that_select_alike_share_a_reference_pass():
    """Neither the loss nor its coefficients decide a reference's log-probabilities; K does."""

    def pass_of(method, **coefficients):
        return PolicyConfig(method=method, coefficients={method: coefficients}).reference_pass()

    assert pass_of("dpo", beta=0.3) == pass_of("exo_pref", beta_pi=0.7)
    assert pass_of("dpo_rw", beta_r=0.3) == pass_of("exo_rw", beta_pi=0.7)
    assert pass_of("exo_rw", responses=4) == pass_of("dpo_rw", responses=4) != pass_of("exo_rw")
    assert pass_of("exo_rw", responses=4).responses == 4
    assert pass_of("dpo").method != pass_of("exo_rw").method


def test_rrhf_weighs_ranking_as_its_own_code_does():
    """Misordered by 1 nat per token, the best at -2: 100 * 1 + 2, and both terms as they are."""
    import torch

    numbers = torch.tensor([[-6.0, -2.0]]), None, torch.tensor([[1.0, 0.0]]), torch.tensor([[3, 2]])
    method = GROUP_METHODS["rrhf"]
    losses, metrics = method.loss(*numbers, torch.ones(1, 2, dtype=torch.bool), RrhfConfig())
    shown = {name: value.item() for name, value in metrics.items()}
    assert (losses.item(), shown) == (102, {"loss/ranking": 1, "loss/sft": 2})


def test_rrhf_without_imitation_warns():
    with pytest.warns(UserWarning, match="degenerate"):
        RrhfConfig(sft_weight=0)


def test_unknown_reward_objective_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="known: ab, apo_rm, ava_p, bradley_terry, gail, sequential, wgan"
    ):
        RewardConfig(objective="apo")


def test_configs_are_read_without_torch():
    code = "import sys, tasks.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
