"""Policies are trained by every method, and the reference is what it claims to be."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.data.files import GroupFolder
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.policy import load_policy
from tasks.settings.errors import ConfigError, StageError
from tasks.storage.digests import digest_tree
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.data.selection import Encoder
from tasks.training.methods.registry import GROUP_METHODS
from tasks.training.trainable import make_ready
from tasks.training.updates import policy as policy_updates
from tasks.training.updates.policy import train_policy
from tests.tasks.training.small_updates import reference_of, update

TRAINING = TrainingConfig(
    learning_rate=1e-2,
    batch_size=4,
    micro_batch_tokens=100,
    num_train_epochs=2,
    logging_steps=1,
    precision="fp32",
)
DATA = {name: "demonstrations" if name == "sft" else "scored" for name in GROUP_METHODS}


def config_of(method: str, **given) -> PolicyConfig:
    limits = {"max_prompt_tokens": 40, "max_response_tokens": 40}
    if method == "rrhf":
        # Its default weight of the ranking is for learning rates ten thousand times smaller.
        given = {"coefficients": {"rrhf": {"ranking_weight": 1.0}}} | given
    return PolicyConfig(method=method, limits=limits, **({"training": TRAINING} | given))


@pytest.mark.parametrize("method", DATA)
def test_every_method_trains_and_saves(method, tiny_policy, data_folders, tmp_path, recording_log):
    data = data_folders[DATA[method]]
    path = tmp_path / "training"
    metrics = update(path, tiny_policy, data, config_of(method), recording_log)
    steps = [values for step, values in recording_log.metrics if step]
    assert metrics["samples_seen"] == metrics["samples_planned"] > 0
    assert metrics["shared_prompts"] == 1
    # The epochs see the same groups; the batches of two single steps differ.
    first, second = (sum(s["loss"] for s in steps[half]) for half in (slice(3), slice(3, 6)))
    assert second < first
    assert {"learning_rate", "grad_norm", "padding_share"} <= steps[0].keys()
    model = AutoModelForCausalLM.from_pretrained(path / "output")
    start = AutoModelForCausalLM.from_pretrained(tiny_policy)
    moved = [
        not torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True)
    ]
    assert all(moved)
    assert (path / "output" / "config.json").read_bytes() == (
        tiny_policy / "config.json"
    ).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(path / "output")
    ids = tokenizer("tea", return_tensors="pt")["input_ids"]
    assert model.generate(ids, max_new_tokens=2).shape[1] > ids.shape[1]


def test_settings_outside_the_key_change_no_byte(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """Nor does a training that one of them interrupted go on otherwise under another."""
    made = []
    often = {"save_every": 2, "logging_steps": 2, "keep_checkpoints": 1}
    for name, changed, earlier in (
        ("plain", {}, ()),
        ("often", often, ()),
        ("resumed", {"save_every": 3}, (tmp_path / "often",)),
    ):
        config = config_of("rjs", training=TRAINING.model_copy(update=changed))
        data, path = data_folders["scored"], tmp_path / name
        metrics = update(path, tiny_policy, data, config, recording_log, earlier=earlier)
        made.append((digest_tree(path / "output"), metrics))
    assert made[0] == made[1] == made[2]
    assert any("resuming after step" in note for note in recording_log.notes)


def test_dpo_starts_without_margin_and_gains_one(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """At step 0 policy and reference are equal: the loss is log 2 and the margin 0."""
    data, config = data_folders["scored"], config_of("dpo")
    metrics = update(tmp_path / "dpo", tiny_policy, data, config, recording_log)
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
    demonstrations, scored = data_folders["demonstrations"], data_folders["scored"]
    update(tmp_path / "sft", tiny_policy, demonstrations, config_of("sft"), recording_log)
    policy = tmp_path / "sft" / "output"
    metrics = update(
        tmp_path / "dpo", policy, scored, config_of("dpo"), recording_log, reference=tiny_policy
    )
    assert abs(metrics["kl/step_0"]) > 1e-2


def test_a_policy_that_differs_from_itself_stops(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """Numbers that are a little off stand for any hidden difference."""
    data, config = data_folders["scored"], config_of("dpo")
    logps = reference_of(tmp_path / "reference", tiny_policy, data, config, recording_log)
    file = logps / "logps.safetensors"
    save_file({"logps": load_file(file)["logps"] * 1.001}, file)
    training = Workspace(tmp_path / "training")
    with pytest.raises(StageError, match="its own reference"):
        train_policy(tiny_policy, logps, [data], config, training, recording_log, 0, digest="start")


def test_numbers_of_other_groups_are_refused(tiny_policy, data_folders, tmp_path, recording_log):
    config = config_of("dpo")
    logps = reference_of(
        tmp_path / "reference", tiny_policy, data_folders["pairs"], config, recording_log
    )
    training = Workspace(tmp_path / "training")
    with pytest.raises(StageError, match="other tokens"):
        train_policy(
            tiny_policy, logps, [data_folders["scored"]], config, training, recording_log, 0
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
        update(tmp_path / "a", tiny_policy, data_folders[data], config_of(method), recording_log)


def refused(config, policy, data, tmp_path, log, monkeypatch, words) -> None:
    """The training is refused before its model is loaded."""
    monkeypatch.setattr(policy_updates, "load_policy", None)
    with pytest.raises(ConfigError, match=words):
        train_policy(policy, None, [data], config, Workspace(tmp_path), log, seed=0)


def test_dpo_without_reference_is_refused(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    data = data_folders["scored"]
    words = "needs a reference: .*compute_reference_logps"
    refused(config_of("dpo"), tiny_policy, data, tmp_path, recording_log, monkeypatch, words)


def test_a_context_too_short_is_refused(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    config = PolicyConfig(limits={"max_prompt_tokens": 100, "max_response_tokens": 100})
    data = data_folders["scored"]
    refused(config, tiny_policy, data, tmp_path, recording_log, monkeypatch, "context of 128")


def test_a_group_beyond_the_budget_is_refused(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    training = TRAINING.model_copy(update={"micro_batch_tokens": 30})
    config = config_of("rrhf", training=training)
    words = r"micro_batch_tokens is 30: raise it to \d+"
    data = data_folders["scored"]
    refused(config, tiny_policy, data, tmp_path, recording_log, monkeypatch, words)


def test_bf16_trains_too(tiny_policy, data_folders, tmp_path, recording_log):
    config = config_of("dpo", training=TRAINING.model_copy(update={"precision": "bf16"}))
    path = tmp_path / "dpo"
    metrics = update(path, tiny_policy, data_folders["scored"], config, recording_log)
    assert metrics["loss"] < 0.7
    saved = AutoModelForCausalLM.from_pretrained(path / "output")
    assert saved.dtype == torch.float32


def test_gradient_checkpointing_keeps_the_gradient(tiny_policy, data_folders, recording_log):
    gradients = []
    encoder = Encoder.of(tiny_policy, None, config_of("sft").limits)
    groups = [encoder.encode(group) for group in GroupFolder(data_folders["scored"])]
    for checkpointing in (False, True):
        config = TRAINING.model_copy(update={"gradient_checkpointing": checkpointing})
        policy = GroupPolicy(load_policy(tiny_policy, dtype="float32"))
        make_ready(policy, config, range(9), recording_log)
        policy.train()
        assert policy.model.is_activation_checkpointing is checkpointing
        loss = policy(policy.batch(groups, encoder.pad_id)).sum()
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in policy.parameters())])
    for plain, again in zip(*gradients, strict=True):
        assert torch.equal(plain, again)


def test_a_model_that_cannot_share_prompts_says_so(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    """The result is the same; only the way there is longer."""
    data, config = data_folders["scored"], config_of("rrhf")
    shared = update(tmp_path / "shared", tiny_policy, data, config, recording_log)
    assert recording_log.notes == []
    monkeypatch.setattr(GroupPolicy, "hidden", None)
    plain = update(tmp_path / "plain", tiny_policy, data, config, recording_log)
    assert any("does not share prompts" in note for note in recording_log.notes)
    assert (shared["shared_prompts"], plain["shared_prompts"]) == (1, 0)
    assert plain["loss"] == pytest.approx(shared["loss"], rel=1e-4)
    assert plain["padding_share"] > shared["padding_share"] == 0


def test_dropout_is_drawn_for_each_response(tiny_policy, data_folders, tmp_path, recording_log):
    config = config_of("rrhf", training=TRAINING.model_copy(update={"dropout": 0.2}))
    path = tmp_path / "training"
    metrics = update(path, tiny_policy, data_folders["scored"], config, recording_log)
    assert metrics["shared_prompts"] == 0
    assert any("training.dropout is 0.2" in note for note in recording_log.notes)
