"""What saves memory in PPO changes no number: bf16 copies kept, layers computed again, adapters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.models.policy import load_policy
from tasks.models.precision import keep_as_computed
from tasks.models.sampling.decode_rows import why_not_shared
from tasks.training import trainable
from tests.tasks.training.ppo.test_rollouts import _rollouts
from tests.tasks.training.ppo.tiny_ppo import digest_of_files, train_tiny

LORA = {"rank": 2, "alpha": 8}
PARTS: list[dict[str, Any]] = [{"lora": LORA}, {"trainable_layers": 1}]


def test_layers_computed_again_give_the_same_policy(root):
    outputs = []
    for again in (False, True):
        _, output = train_tiny(root, f"again-{again}", gradient_checkpointing=again)
        outputs.append(digest_of_files(output))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("part", PARTS, ids=["lora", "layers"])
def test_what_is_frozen_is_kept_in_bf16_and_saved_as_it_was(part, root, monkeypatch):
    outputs = []
    for lowered in (True, False):
        if not lowered:
            monkeypatch.setattr(trainable, "keep_as_computed", lambda model, precision: None)
        _, output = train_tiny(root, f"lowered-{lowered}", precision="bf16", **part)
        outputs.append(digest_of_files(output))
    assert outputs[0] == outputs[1]
    start, saved = (load_file(f / "model.safetensors") for f in (root / "policy", output))
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    moved = {name for name in start if not torch.equal(start[name], saved[name])}
    assert moved and "model.embed_tokens.weight" not in moved


def test_the_reference_in_bf16_computes_what_it_did(root, monkeypatch):
    policy = load_policy(root / "policy", dtype="float32").requires_grad_(False)
    ids = torch.arange(5, 20)[None]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = policy(ids).logits
        keep_as_computed(policy, "bf16")
        assert torch.equal(policy(ids).logits, expected)
    policy.config._attn_implementation = "sdpa"
    assert why_not_shared(policy, range(5, 40)) is None
    kinds = {name: p.dtype for name, p in policy.named_parameters()}
    assert kinds["model.layers.0.mlp.up_proj.weight"] == torch.bfloat16
    assert kinds["model.embed_tokens.weight"] == torch.float32
    assert kinds["model.norm.weight"] == torch.float32
    _, _, models, _ = _rollouts(root, monkeypatch, precision="bf16")
    held = [p.dtype for p in models._reference.parameters()]
    assert held.count(torch.bfloat16) == 7
    assert {p.dtype for p in models.policy.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_switched_off_are_the_reference(precision, root, monkeypatch):
    """Whoever is its own reference holds none; the numbers are those of one that is held."""
    settings = {"lora": LORA, "precision": precision, "minibatches": 1}
    rollouts, _, models, queries = _rollouts(root, monkeypatch, **settings)
    assert models._reference is None
    with torch.no_grad():
        for name, parameter in models.policy.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1)
    (minibatch,) = rollouts.draw(queries[:4], 0)
    trained = [p.requires_grad for p in models.policy.parameters()]
    # Without adapters there is a reference, the very start.
    held = _rollouts(root, monkeypatch, precision=precision, minibatches=1)[2]
    groups = [rollouts._encoder.encode(query) for query in rollouts._scorer.seen]
    with torch.no_grad(), models.of_actor.arithmetic():
        expected = held.reference_logps(groups, 0)
        found = models.reference_logps(groups, 0)
    assert torch.equal(found, expected)
    assert any(not torch.equal(e.logps, e.reference_logps) for e in minibatch)
    assert [p.requires_grad for p in models.policy.parameters()] == trained and any(trained)


def test_an_untrained_adapter_is_at_no_distance(root, recording_log):
    train_tiny(root, "kl", recording_log, lora=LORA, precision="bf16", critic_warmup_steps=4)
    points = [values for step, values in recording_log.metrics if step]
    assert [point["objective/kl"] for point in points[:5]] == [0.0] * 5
