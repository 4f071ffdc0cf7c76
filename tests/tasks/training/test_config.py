"""What a user may set about a training, and what of it decides what."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tasks.settings.base import key_settings
from tasks.training.config import PolicyConfig, ReferenceConfig, RewardConfig, TrainingConfig
from tasks.training.methods.reward_objectives import REWARD_OBJECTIVES


def test_a_config_survives_json():
    config = PolicyConfig(
        method="sigmoid",
        coefficients={"sigmoid": {"beta": 0.2}},
        training={"lora": {"rank": 4, "target_modules": ["q_proj"]}, "deepspeed": "zero2"},
    )
    assert PolicyConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.method == "dpo" and config.training.lora.target_modules == ("q_proj",)


def test_only_the_chosen_methods_coefficients_are_in_the_key():
    def key(method, **coefficients):
        return key_settings(PolicyConfig(method=method, coefficients=coefficients))

    beta = {"dpo": {"beta": 0.3}}
    assert key("dpo", **beta, rrhf={"sft_weight": 2}) == key("dpo", **beta) != key("dpo")
    assert key("dpo", **beta)["coefficients"] == {"dpo": {"beta": 0.3, "label_smoothing": 0.0}}
    assert key("rjs", **beta)["coefficients"] == {}
    # They wait for their turn, in what is written down of a run too.
    written = PolicyConfig(method="rjs", coefficients=beta).model_dump(mode="json")
    assert PolicyConfig.model_validate({**written, "method": "dpo"}).own_coefficients.beta == 0.3


@pytest.mark.parametrize("objective", REWARD_OBJECTIVES)
def test_the_weight_is_in_the_key_of_those_reward_models_that_read_it(objective):
    one, other = (
        key_settings(RewardConfig(objective=objective, beta_2=weight)) for weight in (1.0, 2.0)
    )
    assert (one != other) == (objective in ("apo_rm", "wgan", "sequential"))


def test_the_key_of_earlier_versions_is_refused():
    with pytest.raises(ValidationError, match="unknown key 'micro_batch_size'.*micro_batch_tokens"):
        TrainingConfig.model_validate({"micro_batch_size": 8})


@pytest.mark.parametrize(
    "wrong",
    [
        {"micro_batch_tokens": 1},
        {"processes": 0},
        {"nodes": 0},
        {"precision": "fp16"},
        {"lora": {"rank": 0}},
        {"lora": {"rank": 4}, "trainable_layers": 1},
        {"trainable_layers": 0},
        {"lora": {"target_modules": "linear"}},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        RewardConfig(training=wrong)


def test_a_reference_pass_has_what_decides_it_and_nothing_else():
    config = PolicyConfig(
        method="dpo",
        limits={"max_prompt_tokens": 7, "max_response_tokens": 9},
        template="plain",
        temperature=0.7,
        training={"precision": "fp32", "learning_rate": 0.1, "micro_batch_tokens": 99},
    )
    passed = config.reference_pass()
    assert passed == ReferenceConfig(
        method="dpo",
        limits=config.limits,
        template="plain",
        temperature=0.7,
        precision="fp32",
    )
    training = config.training.model_copy(update={"learning_rate": 0.2, "batch_size": 1})
    assert config.model_copy(update={"training": training}).reference_pass() == passed


def test_an_unknown_method_of_a_reference_is_refused():
    with pytest.raises(ValidationError, match="did you mean 'dpo'"):
        ReferenceConfig(method="dop")
