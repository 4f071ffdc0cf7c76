"""What a configuration of the flow `ava` may say, and what is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from flows.configs.ava import AvaConfig
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, validate
from tasks.training.config import PolicyConfig

SMALL: dict[str, Any] = {
    "data": {"playground": {"folder": "data/playground"}},
    "model": {
        "architecture": {
            "kind": "llama", "hidden_size": 32, "layers": 1, "heads": 2, "context": 224
        },
        "vocabulary": 320,
        "template": "plain",
    },
    "limits": {"max_prompt_tokens": 96, "max_response_tokens": 128},
    "reward": {"limits": {"max_prompt_tokens": 96, "max_response_tokens": 128}},
    "sampling": {"max_new_tokens": 24},
    "arms": [{"objective": ["ava_p", "bradley_terry"]}],
}  # fmt: skip


def config(*overrides: str, **given: Any) -> AvaConfig:
    return validate(AvaConfig, apply_overrides(SMALL | given, overrides), "ava-small.yaml")


def labels(*overrides: str) -> list[str]:
    return [cell.label for cell in config(*overrides).cells()]


def test_arms_are_their_cells_with_the_runs_seed() -> None:
    arms = "arms=[{objective: ava_p, ablation: [none, cer]}, {objective: sft, pipeline: direct}]"
    assert labels(arms, "seed=2") == [
        "ava_p, reward_model on preferences, s2",
        "ava_p w/o cer, reward_model on preferences, s2",
        "sft, direct on preferences, s2",
    ]


def test_an_arm_may_have_an_optimiser_of_its_own() -> None:
    arms = [{"objective": "ava_p"}, {"objective": "ava_d", "training": {"learning_rate": 1.0e-4}}]
    found = config(arms=arms)
    rates = [found.training_of(cell).learning_rate for cell in found.cells()]
    assert rates == [found.training.learning_rate, 1.0e-4]


def test_a_policy_without_new_heads_has_no_rate_for_them() -> None:
    arms = [{"objective": ["ava_p", "dpo"], "pipeline": "direct"}]
    found = config(arms=arms)
    trainings = [found.training_of(cell) for cell in found.cells()]
    assert [one.head_learning_rate for one in trainings] == [1.0e-4, None]
    PolicyConfig(method="dpo", training=trainings[1])  # which refuses one


def test_the_playgrounds_oracle_decides_and_elsewhere_a_testing_model() -> None:
    assert config().judges()[0] == "oracle"
    pairs = config(data={"preferences": [{"path": "pairs.jsonl"}]})
    assert pairs.judges() == ("RM_Test",)


DEMONSTRATED = {"demonstrations": [{"path": "solved.jsonl"}]}
DIRECT = [{"objective": "ava_d", "pipeline": "direct", "data": "demonstrations"}]
BY_NUMBER: dict[str, Any] = {"exact_match": True, "gate": {"tester": "exact_match"}}


def test_demonstrations_alone_are_judged_by_their_final_number() -> None:
    alone = config(data=DEMONSTRATED, arms=DIRECT, **BY_NUMBER)
    assert alone.judges() == ("exact_match",)
    pairs = DEMONSTRATED | {"preferences": [{"path": "pairs.jsonl"}]}
    both = config(data=pairs, arms=DIRECT, exact_match=True)
    assert both.judges() == ("RM_Test", "exact_match")
    assert both.divided_data().split.rm_share == 0, "all pairs are the judge's"
    assert config(data=pairs).divided_data().split.rm_share == 0.5


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "nobody to say who wins: name pairs in data.preferences, .* or set exact_match"),
        ({"exact_match": True}, "gate.tester is 'RM_Test', no judge of this run"),
        (BY_NUMBER | {"arms": [{"objective": "dpo", "pipeline": "direct"}]}, "wants pairs"),
        (BY_NUMBER | {"arms": [{"objective": "ava_d", "data": "demonstrations"}]}, "wants pairs"),
    ],
)
def test_demonstrations_alone_are_refused_where_nobody_can_judge(
    given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(**({"data": DEMONSTRATED, "arms": DIRECT} | given))


def test_a_configuration_that_was_written_down_is_read_back() -> None:
    found = config("arms=[{objective: ava_p, ablation: [none, rwt], seeds: [0, 1]}]")
    again = AvaConfig.model_validate(found.model_dump(mode="json"))
    assert again == found and again.cells() == found.cells()


def test_an_unbounded_loss_has_to_be_forced() -> None:
    with pytest.raises(ConfigError, match="lam is 1.5 and c_kl 1: above c_kl .* unbounded below"):
        config("ava.lam=1.5")
    assert config("ava.lam=1.5", "ava.allow_unbounded=true").ava.lam == 1.5
    assert config("ava.lam=1").ava.lam == 1.0


def test_a_schedule_goes_on_from_policies_of_the_temperature_that_starts_have() -> None:
    wanted = ("schedule={cron: 0 3 * * *, policy: champion}", "tqr.alpha=2")
    assert config(*wanted, "arms=[{objective: ava_p}]").tqr.temperature == 0.5
    with pytest.raises(ConfigError, match="ava_p, direct on .* is 0.5 .* drawn from at 1"):
        config(*wanted, "arms=[{objective: ava_p, pipeline: direct}]")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("arms=[]", "arms"),
        ("arms=[{objective: []}]", "objective"),
        ("arms=[{objective: ava_q}]", "ava_q"),
        ("arms=[{objective: ava_p, data: demonstrations}]", "learns from pairs and demonstrations"),
        ("arms=[{objective: dpo}]", "dpo trains a policy and no reward model"),
        ("arms=[{objective: ava_d, ablation: cer}]", "ava_d has no cer"),
        ("arms=[{objective: ava_p}, {objective: ava_p}]", "'ava_p, .* s0' is there twice"),
        ("arms=[{objective: ava_p, seeds: -1}]", "seeds"),
        ("tqr.alpha=0", "tqr.alpha"),
        ("ava.gamma=1.01", "ava.gamma"),
        ("ava.lam=-0.1", "ava.lam"),
        ("ava.c_kl=0.1", "lam is 0.5 and c_kl 0.1"),
        ("ava.neg_guard=clamp", "neg_guard"),
        ("afd_pairing=demo_init", "afd_pairing"),
        ("continue_from=sft", "there is no `sft`"),
        ("limits.max_response_tokens=1", "needs a token and its end"),
        ("sampling.max_new_tokens=300", "limits.max_response_tokens is 128"),
        ("limits.max_prompt_tokens=200", "context is 224 tokens"),
        ("model.architecture.kind=t5", "kind t5 has an encoder for the prompt"),
        ("gate={tester: RM_All}", "no judge of this run"),
    ],
)
def test_a_wrong_key_is_named(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(override)


def test_the_last_action_has_no_reward_behind_it() -> None:
    with pytest.raises(ConfigError, match="reward_shift 1 that is after its end"):
        config("ava.kl_range=actions", "tqr.reward_shift=1")
    assert config("ava.kl_range=actions", "ava.terminal_td=true", "ava.reduction=sum")


@pytest.mark.parametrize(
    ("override", "arm", "problem"),
    [
        ("tqr.ptq=false", {"objective": "ava_p", "pipeline": "direct"}, "tqr.ptq is false"),
        ("tqr.ptq=false", {"objective": "ava_p", "ablation": "ptq"}, "off for every arm"),
        ("tqr.rwt=false", {"objective": "ava_d", "ablation": "rwt"}, "off for every arm"),
        ("ava.c_cer=0", {"objective": "ava_p", "ablation": "cer"}, "off for every arm"),
    ],
)
def test_what_is_off_cannot_be_left_out(override: str, arm: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(override, arms=[arm])
