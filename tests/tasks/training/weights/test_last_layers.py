"""The last layers and the head are trained; below them nothing is computed that is not needed."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch

from tasks.models.groups.group_model import GroupPolicy, GroupReward
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.training.config import TrainingConfig
from tasks.training.trainable import make_ready
from tasks.training.weights.last_layers import freeze_below, head_is_tied
from tests.tasks.models import families
from tests.tasks.models.families import PAD, group

FAMILIES = [*families.CAUSAL, "bart", "t5"]
GROUPS = [group(7, [3, 1, 12], 1), group(2, [5], 2)]
LAST = {
    "bart": "model.decoder.layers.1.",
    "gpt2": "transformer.h.1.",
    "neox": "gpt_neox.layers.1.",
    "opt": "model.decoder.layers.1.",
    "t5": "decoder.block.1.",
}


def gradients(model: Any, kind: Any = GroupPolicy) -> dict[str, torch.Tensor]:
    """The gradient of every weight that has one, of the sum over some groups."""
    wrapped = kind(model)
    wrapped(wrapped.batch(GROUPS, PAD)).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradients_are_those_of_a_full_training_and_no_others(family: str) -> None:
    whole, model = families.build(family), families.build(family)
    everything = gradients(whole)
    freeze_below(model, 1)
    found = gradients(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    last = LAST.get(family, "model.layers.1.")
    assert {name for name in trained if name.startswith(last)} == {
        name for name in everything if name.startswith(last)
    }
    beside = {name for name in trained if not name.startswith(last)}
    heads = {"lm_head.weight", "lm_head.bias", "embed_out.weight"}
    assert all("norm" in name or "ln_f" in name for name in beside - heads)
    assert model.get_output_embeddings().weight.requires_grad is not head_is_tied(model)
    assert found.keys() == trained
    for name, gradient in found.items():
        assert torch.allclose(gradient, everything[name], rtol=1e-4, atol=1e-5), name


def test_all_layers_leave_the_embeddings_alone() -> None:
    model = families.build("llama")
    freeze_below(model, 2)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["model.embed_tokens.weight"]


def test_a_reward_model_trains_its_score() -> None:
    model = families.build("llama-tied", "ForSequenceClassification")
    freeze_below(model, 1)
    assert not head_is_tied(model)
    found = gradients(model, GroupReward)
    assert {"score.weight", "model.norm.weight"} < found.keys()
    assert not any(name.startswith(("model.layers.0.", "model.embed")) for name in found)


def test_a_classifier_on_an_encoder_trains_its_new_layers() -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=8)
    model = DistilBertForSequenceClassification(config)
    freeze_below(model, 1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    last = {name for name in trained if name.startswith("distilbert.transformer.layer.1.")}
    assert last and {name.partition(".")[0] for name in trained - last} == {
        "pre_classifier",
        "classifier",
    }


@pytest.mark.parametrize("checkpointing", [False, True])
def test_there_is_no_graph_below_and_its_activations_are_gone(checkpointing: bool) -> None:
    model = families.build("llama")
    config = TrainingConfig(gradient_checkpointing=checkpointing, precision="fp32")
    wrapped = GroupPolicy(model)
    make_ready(wrapped, config, families.TEXT, NullLog())
    wrapped.train()
    seen: list[tuple[bool, Any]] = []

    def note(module: Any, inputs: Any, output: Any) -> None:
        seen.append((output.requires_grad, weakref.ref(output)))

    for layer in model.model.layers:
        layer.mlp.act_fn.register_forward_hook(note)
    alive: dict[bool, list[bool]] = {}
    for frozen in (False, True):
        if frozen:
            freeze_below(model, 1)
        seen.clear()
        kept = wrapped(wrapped.batch(GROUPS, PAD))
        gc.collect()
        alive[frozen] = [found() is not None for _, found in seen]
        assert [graph for graph, _ in seen] == [not frozen, True]
        kept.sum().backward()
    # Checkpointing frees what is in the layers by itself.
    assert alive == {False: [not checkpointing] * 2, True: [False, not checkpointing]}


def test_more_layers_than_there_are_is_one_sentence() -> None:
    words = "trainable_layers is 3 and LlamaForCausalLM has 2 layers: lower it"
    model = families.build("llama")
    with pytest.raises(ConfigError, match=words):
        freeze_below(model, 3)
    assert all(parameter.requires_grad for parameter in model.parameters())
