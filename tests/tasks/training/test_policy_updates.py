"""Policies are trained by every method, and the reference is what it claims to be."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.settings.errors import ConfigError, StageError
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.policy_updates import train_policy

TRAINING = TrainingConfig(
    learning_rate=1e-2, batch_size=4, micro_batch_size=3, num_train_epochs=2, logging_steps=1
)
DATA = {"rjs": "scored", "rrhf": "scored", "dpo": "scored", "sft": "demonstrations"}


def config_of(method: str, **given) -> PolicyConfig:
    limits = {"max_prompt_tokens": 40, "max_response_tokens": 40}
    return PolicyConfig(method=method, limits=limits, **({"training": TRAINING} | given))


@pytest.mark.parametrize("method", DATA)
def test_every_method_trains_and_saves(method, tiny_policy, data_folders, tmp_path, recording_log):
    metrics = train_policy(
        tiny_policy,
        tiny_policy,
        [data_folders[DATA[method]]],
        config_of(method),
        Workspace(tmp_path),
        recording_log,
        seed=0,
    )
    steps = [values for step, values in recording_log.metrics if step]
    assert metrics["samples_seen"] == metrics["samples_planned"] > 0
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert {"learning_rate", "grad_norm", "tokens_per_second"} <= steps[0].keys()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "output")
    start = AutoModelForCausalLM.from_pretrained(tiny_policy)
    moved = [
        not torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True)
    ]
    assert all(moved)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "output")
    ids = tokenizer("tea", return_tensors="pt")["input_ids"]
    assert model.generate(ids, max_new_tokens=2).shape[1] > ids.shape[1]


def test_dpo_starts_without_margin_and_gains_one(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """At step 0 policy and reference are equal: the loss is log 2 and the margin 0."""
    metrics = train_policy(
        tiny_policy,
        tiny_policy,
        [data_folders["scored"]],
        config_of("dpo"),
        Workspace(tmp_path),
        recording_log,
        seed=0,
    )
    assert abs(metrics["kl/step_0"]) < 1e-5
    steps = [values for step, values in recording_log.metrics if step]
    assert steps[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert steps[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert steps[-1]["rewards/margins"] > 0.1
    assert {
        "rewards/chosen",
        "rewards/rejected",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    } <= steps[0].keys()


def test_another_reference_is_reported_not_refused(
    tiny_policy, data_folders, tmp_path, recording_log
):
    train_policy(
        tiny_policy,
        None,
        [data_folders["demonstrations"]],
        config_of("sft"),
        Workspace(tmp_path / "sft"),
        recording_log,
        seed=0,
    )
    metrics = train_policy(
        tmp_path / "sft" / "output",
        tiny_policy,
        [data_folders["scored"]],
        config_of("dpo"),
        Workspace(tmp_path / "dpo"),
        recording_log,
        seed=0,
    )
    assert abs(metrics["kl/step_0"]) > 1e-2


def test_a_policy_that_differs_from_itself_stops(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    """A reference computed at another temperature stands for any hidden difference."""
    from tasks.training import policy_updates

    real = policy_updates.reference_logps
    monkeypatch.setattr(
        policy_updates, "reference_logps", lambda *a, **k: real(*a, **(k | {"temperature": 2.0}))
    )
    with pytest.raises(StageError, match="its own reference"):
        train_policy(
            tiny_policy,
            tiny_policy,
            [data_folders["scored"]],
            config_of("dpo"),
            Workspace(tmp_path),
            recording_log,
            seed=0,
        )


@pytest.mark.parametrize(
    ("method", "data", "words"),
    [
        ("dpo", "demonstrations", "at least 2 scored responses"),
        ("rrhf", "demonstrations", "at least 2 scored responses"),
        ("sft", "pairs", "one demonstration per prompt"),
    ],
)
def test_unfit_data_is_refused_by_name(
    method, data, words, tiny_policy, data_folders, tmp_path, recording_log
):
    with pytest.raises(ConfigError, match=words):
        train_policy(
            tiny_policy,
            tiny_policy,
            [data_folders[data]],
            config_of(method),
            Workspace(tmp_path),
            recording_log,
            seed=0,
        )


def test_dpo_without_reference_is_refused(tiny_policy, data_folders, tmp_path, recording_log):
    with pytest.raises(ConfigError, match="needs a reference"):
        train_policy(
            tiny_policy,
            None,
            [data_folders["scored"]],
            config_of("dpo"),
            Workspace(tmp_path),
            recording_log,
            seed=0,
        )


def test_a_context_too_short_is_refused(tiny_policy, data_folders, tmp_path, recording_log):
    config = PolicyConfig(limits={"max_prompt_tokens": 100, "max_response_tokens": 100})
    with pytest.raises(ConfigError, match="context of 128"):
        train_policy(
            tiny_policy,
            None,
            [data_folders["scored"]],
            config,
            Workspace(tmp_path),
            recording_log,
            seed=0,
        )


def test_bf16_trains_too(tiny_policy, data_folders, tmp_path, recording_log):
    training = TRAINING.model_copy(update={"precision": "bf16"})
    metrics = train_policy(
        tiny_policy,
        tiny_policy,
        [data_folders["scored"]],
        config_of("dpo", training=training),
        Workspace(tmp_path),
        recording_log,
        seed=0,
    )
    assert metrics["loss"] < 0.7
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "output")
    assert saved.dtype == torch.float32
