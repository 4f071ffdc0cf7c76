"""Policies of which only a part is trained: what comes out is a plain model all the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tasks.models.policy import load_policy
from tasks.settings.errors import ConfigError
from tasks.storage.digests import digest_tree
from tasks.training.data.selection import Encoder
from tasks.training.scale import LoraConfig
from tasks.training.trainable import Trainable
from tests.tasks.training.small_updates import update
from tests.tasks.training.updates.test_policy import TRAINING, config_of


def test_a_policy_with_adapters(tiny_policy, data_folders, tmp_path, recording_log):
    """What comes out is a plain model whose unadapted weights did not move."""
    training = TRAINING.model_copy(update={"lora": LoraConfig(rank=2, alpha=8)})
    config, path = config_of("dpo", training=training), tmp_path / "dpo"
    metrics = update(path, tiny_policy, data_folders["scored"], config, recording_log)
    assert abs(metrics["kl/step_0"]) < 1e-5
    steps = [values for step, values in recording_log.metrics if step]
    assert steps[-1]["loss"] < steps[0]["loss"]
    saved = dict(AutoModelForCausalLM.from_pretrained(path / "output").named_parameters())
    start = dict(AutoModelForCausalLM.from_pretrained(tiny_policy).named_parameters())
    moved = {name for name in start if not torch.equal(saved[name], start[name])}
    assert moved == {name for name in start if "proj" in name}
    assert (path / "output" / "adapter" / "adapter_model.safetensors").is_file()


def test_a_policy_whose_last_layer_is_trained(tiny_policy, data_folders, tmp_path, recording_log):
    """Resumed or not, the frozen part of what comes out is the start's, to the bit."""
    training = TRAINING.model_copy(update={"trainable_layers": 1, "save_every": 2})
    config, scored = config_of("dpo", training=training), data_folders["scored"]
    update(tmp_path / "whole", tiny_policy, scored, config, recording_log)
    assert "the output head is tied to the input embeddings" in " ".join(recording_log.notes)
    steps = [values for step, values in recording_log.metrics if step]
    assert steps[-1]["loss"] < steps[0]["loss"]
    saved = load_file(tmp_path / "whole" / "output" / "model.safetensors")
    start = load_file(tiny_policy / "model.safetensors")
    moved = {name for name in start if not torch.equal(saved[name], start[name])}
    assert moved == set(start) - {"model.embed_tokens.weight"}
    earlier = (tmp_path / "whole",)
    update(tmp_path / "resumed", tiny_policy, scored, config, recording_log, earlier=earlier)
    assert any("resuming after step" in note for note in recording_log.notes)
    assert digest_tree(tmp_path / "resumed" / "output") == digest_tree(tmp_path / "whole/output")


def test_layers_beyond_the_model_are_refused(tiny_policy, data_folders, tmp_path, recording_log):
    training = TRAINING.model_copy(update={"trainable_layers": 2})
    with pytest.raises(ConfigError, match="trainable_layers is 2 and LlamaForCausalLM has 1"):
        data, config = data_folders["scored"], config_of("rjs", training=training)
        update(tmp_path / "a", tiny_policy, data, config, recording_log)
    assert not any((tmp_path / "a" / "output").iterdir())


def test_weights_of_several_processes_are_saved_from_their_state(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """As ZeRO-3 hands them over: by name, to a model whose own weights are not all there."""
    config = TRAINING.model_copy(update={"lora": LoraConfig(rank=2)})
    encoder = Encoder.of(tiny_policy, None, config_of("sft").limits)

    def load(context):
        with context:
            return load_policy(tiny_policy, dtype="float32")

    trainable = Trainable(load, config, seed=0)
    model = trainable.load(recording_log)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainable.save(state, tmp_path / "from_state", encoder)
    trainable.save(None, tmp_path / "from_model", encoder)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        one, other = (load_file(tmp_path / f / name) for f in ("from_state", "from_model"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
