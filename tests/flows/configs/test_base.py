"""What a further flow gets from the base of flow configurations, with three answers of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.configs.base import FlowConfig
from flows.configs.recurring import ModelSource
from tasks.models.tokens.encoding import Limits

LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=24)


class ThirdConfig(FlowConfig):
    """A flow that adds nothing but what it must say."""

    @property
    def sampled_limits(self) -> Limits:
        return LIMITS

    def policy_limits(self) -> tuple[Limits, ...]:
        return (LIMITS, self.reward.limits)

    def judges(self) -> tuple[str, ...]:
        return ("RM", "oracle")


def third(**values: Any) -> ThirdConfig:
    model = {"hub": "org/model", "template": "plain"}
    return ThirdConfig.model_validate({"model": model, **values})


def test_a_flow_that_leaves_a_question_open_has_no_configuration() -> None:
    class Unfinished(FlowConfig):
        """Says nothing of itself."""

    with pytest.raises(TypeError, match="judges, policy_limits, sampled_limits|abstract"):
        Unfinished.model_validate({"model": {"hub": "org/model"}})


def test_models_files_rollouts_and_scores_need_no_code_of_the_flow(tmp_path: Path) -> None:
    config = third(reward={"template": "hh", "training": {"precision": "fp32"}})
    assert list(config.named_models()) == [
        ModelSource("org/model", "plain", (LIMITS, config.reward.limits), decoder=True)
    ]
    rollout = config.rollout(max_queries=3)
    assert (rollout.limits, rollout.template, rollout.max_queries) == (LIMITS, "plain", 3)
    assert rollout.sampling == config.sampling
    assert (config.scoring().template, config.scoring().precision) == ("hh", "fp32")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("{}", encoding="utf-8")
    data = {"preferences": [{"path": str(pairs)}]}
    local = third(model={"path": str(tmp_path)}, data=data)
    assert local.files() == [str(pairs), str(tmp_path)]
    assert third(data=data).files() == [str(pairs)], "a hub name is no path"


def test_what_cannot_go_well_is_refused_by_the_keys_name() -> None:
    config = third(gate={"tester": "RM_Test"})
    with pytest.raises(ValueError, match="gate.tester is 'RM_Test', no judge .* known: RM, oracle"):
        config.check_gate()
    third(gate={"tester": "oracle"}).check_gate()
    with pytest.raises(ValueError, match=r"sampling\.max_new_tokens is 256, but a\.max_response"):
        config.check_samples_fit({"sampling": config.sampling}, "a")
    built = {"kind": "llama", "hidden_size": 32, "layers": 1, "heads": 2, "context": 63}
    short = third(model={"architecture": built, "template": "plain"}, reward={"limits": LIMITS})
    with pytest.raises(ValueError, match="context is 63 tokens, .* = 64: lower them or raise"):
        short.check_context()


BUILT = {"architecture": {"kind": "llama", "layers": 2, "context": 4096}, "template": "plain"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"reward": {"template": "plian"}}, r"reward\.template: unknown .*did you mean 'plain'"),
        (
            {"model": BUILT, "reward": {"training": {"trainable_layers": 3}}},
            r"reward\.training\.trainable_layers is 3, and model\.architecture\.layers 2",
        ),
    ],
)
def test_what_a_training_would_refuse_hours_later(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        third(**values)


def test_layers_are_counted_in_the_model_that_is_trained() -> None:
    named = third(
        reward={"base": "org/base", "template": "hh", "training": {"trainable_layers": 4}},
        sft={"training": {"trainable_layers": 3}},
    )
    assert [source.layers for source in named.named_models()] == [
        ("sft.training.trainable_layers", 3),
        ("reward.training.trainable_layers", 4),
    ]
    training = {"trainable_layers": 3}
    assert third(model=BUILT, reward={"base": "org/deep", "training": training}).reward.base
    assert third(model=BUILT, reward={"training": {"trainable_layers": 2}}).model.architecture
