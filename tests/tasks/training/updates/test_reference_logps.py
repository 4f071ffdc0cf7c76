"""Reference log-probabilities are computed once, are what they claim, and fit one training only."""

from __future__ import annotations

import gc
import json
import weakref

import pytest
import torch
from safetensors.torch import load_file

from tasks.data.files import GroupFolder, write_groups
from tasks.models.policy import load_policy
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError, StageError
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, ReferenceConfig, TrainingConfig
from tasks.training.data.selection import Encoder, Selection, keep_groups
from tasks.training.methods.registry import GROUP_METHODS
from tasks.training.updates import reference_logps
from tasks.training.updates.reference_logps import compute_logps, keep_reference, read_reference
from tests.tasks.training.conftest import make_groups

LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=40)
CONFIG = ReferenceConfig(method="rrhf", limits=LIMITS, temperature=0.8, precision="fp32")
POLICY = PolicyConfig(
    method="rrhf", limits=LIMITS, temperature=0.8, training=TrainingConfig(precision="fp32")
)


def compute(path, policy, data, config=CONFIG, log=None, **given):
    return compute_logps(policy, [data], config, Workspace(path), log, **given)


def logps_of(path) -> torch.Tensor:
    return load_file(path / "output" / "logps.safetensors")["logps"]


@torch.no_grad()
def one_by_one(policy, data, config=CONFIG) -> list[float]:
    """Each response alone behind its prompt, without a mask, a batch or a pack."""
    model = load_policy(policy, dtype="float32")
    encoder = Encoder.of(policy, None, config.limits)
    found = []
    for group in GroupFolder(data):
        encoded = encoder.encode(group)
        for response in encoded.responses_ids:
            ids = torch.tensor([encoded.prompt_ids + response])
            logits = model(ids).logits[0, len(encoded.prompt_ids) - 1 : -1] / config.temperature
            picked = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])
            found.append(float(picked.sum()))
    return found


def test_every_response_as_if_alone(tiny_policy, data_folders, tmp_path, recording_log):
    metrics = compute(tmp_path, tiny_policy, data_folders["scored"], log=recording_log)
    expected = one_by_one(tiny_policy, data_folders["scored"])
    assert logps_of(tmp_path).tolist() == pytest.approx(expected, rel=1e-5)
    assert metrics["mean_logp"] == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    assert metrics["data/selected/groups"] == 11 and metrics["shared_prompts"] == 1
    assert recording_log.notes == []


def test_a_group_beyond_the_budget_is_split_exactly(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """8 tokens hold no prompt with two responses: each row has one."""
    compute(tmp_path / "whole", tiny_policy, data_folders["scored"], log=recording_log)
    config = CONFIG.model_copy(update={"batch_tokens": 8})
    compute(tmp_path / "split", tiny_policy, data_folders["scored"], config, recording_log)
    assert torch.allclose(logps_of(tmp_path / "whole"), logps_of(tmp_path / "split"), rtol=1e-5)


def test_the_method_selects(tiny_policy, data_folders, tmp_path, recording_log):
    """DPO keeps two responses of each group, in its own order."""
    config = CONFIG.model_copy(update={"method": "dpo"})
    compute(tmp_path / "dpo", tiny_policy, data_folders["scored"], config, recording_log)
    chosen = [
        g for s in GroupFolder(data_folders["scored"]) for g in GROUP_METHODS["dpo"].select(s)
    ]
    write_groups(tmp_path / "selected", chosen)
    expected = one_by_one(tiny_policy, tmp_path / "selected", config)
    assert logps_of(tmp_path / "dpo").tolist() == pytest.approx(expected, rel=1e-5)


def test_a_resumed_pass_computes_only_what_is_missing(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    monkeypatch.setattr(reference_logps, "_SHARD", 4)
    data = data_folders["scored"]
    told = compute(tmp_path / "whole", tiny_policy, data, log=recording_log)
    del told["speed/tokens_per_second"]
    real, passes = reference_logps.response_values, []

    def fails_in_the_second_shard(policy, groups, *arguments):
        passes.append(len(groups))
        if len(passes) == 2:
            raise RuntimeError("pulled the plug")
        return real(policy, groups, *arguments)

    monkeypatch.setattr(reference_logps, "response_values", fails_in_the_second_shard)
    with pytest.raises(RuntimeError, match="plug"):
        compute(tmp_path / "attempt-1", tiny_policy, data, log=recording_log)
    second = Workspace(tmp_path / "attempt-2")
    second.adopt_parts([tmp_path / "attempt-1"])
    compute_logps(tiny_policy, [data], CONFIG, second, recording_log)
    assert passes == [4, 4, 4, 3]
    whole = (tmp_path / "whole" / "output" / "logps.safetensors").read_bytes()
    assert (second.output / "logps.safetensors").read_bytes() == whole
    # Once every shard is there, no model is loaded, and the metrics are the same still.
    monkeypatch.setattr(reference_logps, "load_policy", None)
    assert compute_logps(tiny_policy, [data], CONFIG, second, recording_log) == told


def test_the_model_leaves_memory(tiny_policy, data_folders, tmp_path, recording_log, monkeypatch):
    models = []
    real = reference_logps.load_policy

    def load(*arguments, **named):
        model = real(*arguments, **named)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(reference_logps, "load_policy", load)
    gc.disable()
    try:
        compute(tmp_path, tiny_policy, data_folders["scored"], log=recording_log)
    finally:
        gc.enable()
    assert [model() for model in models] == [None]


def test_a_broken_model_is_named_with_the_group(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    real = reference_logps.load_policy

    def broken(*arguments, **named):
        model = real(*arguments, **named)
        model.model.embed_tokens.weight.data.fill_(float("nan"))
        return model

    monkeypatch.setattr(reference_logps, "load_policy", broken)
    first = next(iter(GroupFolder(data_folders["scored"])))
    with pytest.raises(StageError, match=f"group {first.id} the log-probabilities .nan"):
        compute(tmp_path, tiny_policy, data_folders["scored"], log=recording_log)


def test_the_index_says_whose_numbers_they_are(tiny_policy, data_folders, tmp_path, recording_log):
    compute(tmp_path, tiny_policy, data_folders["scored"], log=recording_log, digest="abc.dir")
    index = json.loads((tmp_path / "output" / "index.json").read_text())
    assert index["model"] == "abc.dir" and index["responses"] == 33
    assert (index["temperature"], index["precision"]) == (0.8, "fp32")


@pytest.fixture
def computed(tiny_policy, data_folders, tmp_path, recording_log):
    """Log-probabilities of the scored groups, and what a training of them has in hand."""
    compute(
        tmp_path / "reference",
        tiny_policy,
        data_folders["scored"],
        log=recording_log,
        digest="abc.dir",
    )
    encoder = Encoder.of(tiny_policy, None, LIMITS, as_sampled=True)
    workspace = Workspace(tmp_path / "training")
    groups = Selection([data_folders["scored"]], GROUP_METHODS["rrhf"])
    encoded, _ = keep_groups(workspace, "selected", groups, encoder)
    return workspace, tmp_path / "reference" / "output", encoded, encoder


@pytest.mark.parametrize(("digest", "same"), [("abc.dir", True), ("other.dir", False), ("", False)])
def test_what_fits_is_kept(digest, same, computed):
    part = keep_reference(*computed, POLICY, digest)
    logps, is_start = read_reference(part)
    assert is_start is same
    assert torch.equal(logps, load_file(computed[1] / "logps.safetensors")["logps"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 1.0}, "temperature 0.8, and the training has 1.0"),
        ({"training": {"precision": "bf16"}}, "precision fp32, and the training has bf16"),
    ],
)
def test_other_arithmetic_is_named(change, words, computed):
    config = PolicyConfig.model_validate(POLICY.model_dump(mode="json") | change)
    with pytest.raises(StageError, match=words):
        keep_reference(*computed, config, "")


def test_other_tokens_are_named(computed, tmp_path):
    workspace, artifact, _, encoder = computed
    other, _ = keep_groups(workspace, "other", make_groups(11, 3, seed=9), encoder)
    with pytest.raises(StageError, match=r"other tokens \(other groups or limits\)"):
        keep_reference(workspace, artifact, other, encoder, POLICY, "")


def test_another_tokenizer_is_named(computed):
    workspace, artifact, encoded, encoder = computed
    encoder.tokenizer.add_tokens(["tea cake"])
    with pytest.raises(StageError, match="another tokenizer"):
        keep_reference(workspace, artifact, encoded, encoder, POLICY, "")


def test_a_model_folder_is_no_reference(computed, tiny_policy):
    workspace, _, encoded, encoder = computed
    with pytest.raises(ConfigError, match="holds no reference log-probabilities"):
        keep_reference(workspace, tiny_policy, encoded, encoder, POLICY, "")


def test_a_learning_rate_does_not_change_the_pass():
    """Its config is in the stage's key; so are the model and the groups, and nothing else."""
    slow, fast = (
        PolicyConfig(method="dpo", training=TrainingConfig(learning_rate=rate, batch_size=size))
        for rate, size in ((1e-6, 8), (1e-3, 64))
    )
    assert slow.reference_pass() == fast.reference_pass()
    for change in ({"temperature": 0.5}, {"method": "rrhf"}, {"template": "plain"}):
        other = PolicyConfig(**({"method": "dpo"} | change))
        assert other.reference_pass() != slow.reference_pass()
    precise = PolicyConfig(method="dpo", training=TrainingConfig(precision="fp32"))
    assert precise.reference_pass() != slow.reference_pass()
