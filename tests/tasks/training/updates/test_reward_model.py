"""Reward models are trained by every objective, from the start each of them wants."""

from __future__ import annotations

import json
import shutil
from statistics import fmean

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.padded_batches import collate
from tasks.models.reward_model import build_reward_model, load_reward_model, rewards
from tasks.models.tokens.encoding import Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError, StageError
from tasks.storage.workspace import Workspace
from tasks.training.config import RewardConfig, TrainingConfig
from tasks.training.data import selection
from tasks.training.methods.reward_objectives import REWARD_OBJECTIVES
from tasks.training.scale import LoraConfig
from tasks.training.updates import reward_model as reward_updates
from tasks.training.updates.reward_model import train_reward_model

LIMITS = {"max_prompt_tokens": 40, "max_response_tokens": 40}
TRAINING = TrainingConfig(
    learning_rate=1e-2,
    batch_size=8,
    micro_batch_tokens=120,
    num_train_epochs=6,
    logging_steps=1,
    precision="fp32",
)


def run(objective, base, preferences, apo, path, log, training=TRAINING, **more):
    # At beta_2 = 10 so few pairs would drown what gold teaches.
    config = RewardConfig(objective=objective, beta_2=1.0, limits=LIMITS, training=training, **more)
    return train_reward_model(base, preferences, apo, config, Workspace(path), log, seed=0)


def test_gold_against_each_sample_counts_as_a_pair(tiny_policy, data_folders, tmp_path):
    """5 queries with 3 samples are 15 pairs: more steps, and in one step the same loss."""
    from tests.tasks.training.conftest import RecordingLog

    whole = TRAINING.model_copy(update={"batch_size": 64, "num_train_epochs": 1})
    losses, counts = [], []
    for split in (False, True):
        log, path = RecordingLog(), tmp_path / f"{split}"
        folders = [data_folders["pairs"]], data_folders["gold"]
        more = {"training": whole, "split_samples": split}
        metrics = run("apo_rm", tiny_policy, *folders, path, log, **more)
        losses.append(metrics["loss"])
        counts.append((metrics["data/apo/groups"], metrics["data/apo/responses"]))
    assert counts == [(5, 20), (15, 30)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    alone = RewardConfig(objective="ab", split_samples=True)
    assert alone.in_key() == RewardConfig(objective="ab")


@pytest.fixture(scope="module")
def rm_base(tmp_path_factory, tiny_policy, data_folders):
    from tasks.settings.log import NullLog

    path = tmp_path_factory.mktemp("rm_base")
    run("bradley_terry", tiny_policy, [data_folders["pairs"]], None, path, NullLog())
    return path / "output"


@pytest.mark.parametrize("objective", REWARD_OBJECTIVES)
def test_every_objective_trains_and_saves(
    objective, tiny_policy, rm_base, data_folders, tmp_path, recording_log
):
    known = REWARD_OBJECTIVES[objective]
    metrics = run(
        objective,
        rm_base if known.continues else tiny_policy,
        [data_folders["pairs"]],
        data_folders["gold"] if known.game else None,
        tmp_path,
        recording_log,
    )
    steps = [values for step, values in recording_log.metrics if step]
    assert metrics["samples_seen"] == metrics["samples_planned"] > 0
    epoch = len(steps) // TRAINING.num_train_epochs
    first, last = (fmean(one["loss"] for one in part) for part in (steps[:epoch], steps[-epoch:]))
    assert last < first
    if known.game:
        assert steps[-1]["apo/margin"] > steps[0]["apo/margin"]
    assert ("accuracy" in metrics) == known.uses_preferences
    model = load_reward_model(tmp_path / "output")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "output")
    group = Group((Message("user", "tea?"),), ("yes please",), (1.0,))
    encoded = encode_group(tokenizer, None, group, Limits(**LIMITS))
    ours = rewards(model, collate([encoded], tokenizer.pad_token_id))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "output")
    ids = torch.tensor([encoded.prompt_ids + encoded.responses_ids[0]])
    assert torch.equal(ours, plain(ids).logits)


def test_the_start_decides(tiny_policy, rm_base, data_folders, tmp_path, recording_log):
    """`ab` goes on from RM_Base, so its first accuracy is already RM_Base's last."""
    run("ab", rm_base, [data_folders["pairs"]], None, tmp_path, recording_log)
    assert recording_log.metrics[0][1]["loss"] < 0.5


@pytest.mark.parametrize("objective", ["ab", "sequential"])
def test_continuing_from_a_policy_is_refused(
    objective, tiny_policy, data_folders, tmp_path, recording_log
):
    with pytest.raises(ConfigError, match="goes on from a reward model"):
        run(
            objective,
            tiny_policy,
            [data_folders["pairs"]],
            data_folders["gold"],
            tmp_path,
            recording_log,
        )


def test_missing_sets_are_named(tiny_policy, data_folders, tmp_path, recording_log):
    with pytest.raises(ConfigError, match="given none.*D_APO"):
        run("apo_rm", tiny_policy, [data_folders["pairs"]], None, tmp_path / "a", recording_log)
    with pytest.raises(ConfigError, match="needs human preferences"):
        run("apo_rm", tiny_policy, [], data_folders["gold"], tmp_path / "b", recording_log)


def test_k_wise_preferences_become_pairs(tiny_policy, data_folders, tmp_path, recording_log):
    """Scores (1, 3, 1) hold two ordered pairs; ties hold none."""
    prompt = (Message("user", "tea?"),)
    groups = [
        Group(prompt, ("no", "yes please", "maybe"), (1.0, 3.0, 1.0)),
        Group(prompt, ("no", "yes"), (1.0, 1.0), id="tied"),
    ]
    write_groups(tmp_path / "kwise", groups)
    metrics = run(
        "apo_rm",
        tiny_policy,
        [tmp_path / "kwise"],
        data_folders["gold"],
        tmp_path / "run",
        recording_log,
    )
    assert metrics["data/preferences/groups"] == 2
    write_groups(tmp_path / "ties", groups[1:])
    with pytest.raises(StageError, match="nothing to train on"):
        run(
            "bradley_terry",
            tiny_policy,
            [tmp_path / "ties"],
            None,
            tmp_path / "tied",
            recording_log,
        )


def test_one_response_is_no_preference(tiny_policy, data_folders, tmp_path, recording_log):
    with pytest.raises(ConfigError, match="a reward model needs at least 2 scored responses"):
        run(
            "bradley_terry",
            tiny_policy,
            [data_folders["demonstrations"]],
            None,
            tmp_path,
            recording_log,
        )


def test_a_group_beyond_the_budget_is_refused_before_the_model_is_loaded(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    monkeypatch.setattr(reward_updates, "build_reward_model", None)
    training = TRAINING.model_copy(update={"micro_batch_tokens": 20})
    with pytest.raises(ConfigError, match=r"micro_batch_tokens is 20: raise it to \d+"):
        run(
            "apo_rm",
            tiny_policy,
            [data_folders["pairs"]],
            data_folders["gold"],
            tmp_path,
            recording_log,
            training,
        )


def test_samples_are_read_as_text(tiny_policy, data_folders, tmp_path, recording_log, monkeypatch):
    """The tokens a policy drew would tell a reward model that they were drawn."""
    asked = []
    real = selection.encode_group

    def watched(*arguments, as_sampled):
        asked.append(as_sampled)
        return real(*arguments, as_sampled=as_sampled)

    monkeypatch.setattr(selection, "encode_group", watched)
    run("bradley_terry", tiny_policy, [data_folders["pairs"]], None, tmp_path, recording_log)
    assert set(asked) == {False}


def test_adapters_and_a_head(tiny_policy, data_folders, tmp_path, recording_log):
    """The head is trained as it is, the embeddings are not."""
    training = TRAINING.model_copy(update={"lora": LoraConfig(rank=2)})
    run(
        "bradley_terry",
        tiny_policy,
        [data_folders["pairs"]],
        None,
        tmp_path,
        recording_log,
        training,
    )
    steps = [values for step, values in recording_log.metrics if step]
    assert steps[-1]["loss"] < steps[0]["loss"]
    fresh = build_reward_model(tiny_policy, load_tokenizer(tiny_policy), dtype="float32")
    trained = dict(load_reward_model(tmp_path / "output").named_parameters())
    moved = {name for name, p in fresh.named_parameters() if not torch.equal(p, trained[name])}
    assert moved == {name for name in trained if "proj" in name or name == "score.weight"}
    adapter = load_file(tmp_path / "output" / "adapter" / "adapter_model.safetensors")
    assert torch.equal(adapter["base_model.model.score.weight"], trained["score.weight"])


def test_a_tokenizer_without_pad_gets_one(tiny_policy, data_folders, tmp_path, recording_log):
    """A pad that were the end would hide from transformers where a response ends."""
    start = tmp_path / "start"
    shutil.copytree(tiny_policy, start)
    file = start / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings))
    run("bradley_terry", start, [data_folders["pairs"]], None, tmp_path / "rm", recording_log)
    tokenizer = load_tokenizer(tmp_path / "rm" / "output")
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert load_reward_model(tmp_path / "rm" / "output").config.pad_token_id is not None
