"""TQRs are trained by every objective, resume to the same bytes, and are what they say."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.loading import save_model
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import open_scorer
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.marker import HEADS_FILE, tqr_config
from tasks.models.tqr.model_files import load_tqr
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import external_artifact
from tasks.storage.digests import digest_tree
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig
from tasks.training.scale import LoraConfig
from tasks.training.snapshots import Snapshots
from tasks.training.tqr_config import GoldGames
from tasks.training.updates import tqr as updates
from tasks.update_tqr import update_tqr
from tests.tasks.training.small_tqrs import LIMITS, OBJECTIVES, config_of, train
from tests.tasks.training.small_updates import update


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_and_saves(
    objective, tiny_policy, data_folders, tmp_path, recording_log
):
    config, data = config_of(objective), data_folders["pairs"]
    metrics = train(tmp_path, tiny_policy, data, config, recording_log)
    steps = [values for step, values in recording_log.metrics if step]
    assert metrics["samples_seen"] == metrics["samples_planned"] == 40
    assert metrics["shared_prompts"] == 1
    first, last = (fmean(one["loss"] for one in part) for part in (steps[:2], steps[-2:]))
    assert last < first
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "output")
    start = AutoModelForCausalLM.from_pretrained(tiny_policy)
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)
    assert tqr_config(tmp_path / "output") == config.model
    if objective != "ava_d":
        own = config.model.score
        assert steps[0][f"accuracy/{own}"] == 0.5 and steps[-1][f"accuracy/{own}"] > 0.5
        scoring = ScoringConfig(limits=LIMITS, precision="fp32")
        groups = [Group((Message("user", "tea?"),), ("yes", "no"))]
        found = open_scorer(tmp_path / "output", scoring).score(groups)
        named = scoring.model_copy(update={"score": own})
        assert found == open_scorer(tmp_path / "output", named).score(groups)


def cut_back(whole: Path) -> list[Path]:
    """Copies of a finished training as a kill after each of its checkpoints would leave it."""
    steps = [name for name in Workspace(whole).part_names() if "step-" in name]
    paths = [whole.with_name(name) for name in steps]
    for number, path in enumerate(paths):
        shutil.copytree(whole, path)
        shutil.rmtree(path / "output")
        for later in steps[number + 1 :]:
            Workspace(path).drop_part(later)
    return paths


@pytest.mark.parametrize("objective", ["ava_p", "ava_p with gold", "preference_transformer"])
def test_it_resumes_at_every_checkpoint_to_the_same_bytes(
    objective, tiny_policy, data_folders, tmp_path
):
    keep = {"save_every": 1, "keep_checkpoints": 100, "num_train_epochs": 2, "snapshots": 2}
    name, _, plays = objective.partition(" with ")
    apo = {"apo": data_folders["gold"]} if plays else {}
    games = {"gold": GoldGames()} if plays else {}
    config, data = config_of(name, training=keep, **games), data_folders["pairs"]
    whole = train(tmp_path / "whole", tiny_policy, data, config, **apo)
    expected = digest_tree(tmp_path / "whole" / "output")
    cut = cut_back(tmp_path / "whole")
    assert len(cut) == (5 if plays else 3)
    for path in cut:
        assert train(path, tiny_policy, data, config, **apo) == whole
        assert digest_tree(path / "output") == expected
    heads = load_file(tmp_path / "whole/output" / HEADS_FILE)
    halfway = load_file(tmp_path / "whole/output/snapshots/1" / HEADS_FILE)
    assert not torch.equal(heads["reward.weight"], halfway["reward.weight"])


def test_gold_and_the_rule_for_it_come_together(tiny_policy, data_folders, tmp_path):
    data, gold = data_folders["pairs"], data_folders["gold"]
    with pytest.raises(ConfigError, match="given D_APO and no `gold`"):
        train(tmp_path, tiny_policy, data, config_of(), apo=gold)
    with pytest.raises(ConfigError, match="given `gold` and no D_APO"):
        train(tmp_path, tiny_policy, data, config_of(gold=GoldGames()))


def test_demonstrations_are_no_pairs(tiny_policy, data_folders, tmp_path, monkeypatch):
    monkeypatch.setattr(updates, "launch", None)
    with pytest.raises(ConfigError, match="ava_p needs at least 2 scored responses"):
        train(tmp_path, tiny_policy, data_folders["demonstrations"], config_of())


def test_a_stage_that_failed_at_its_end_goes_on_to_the_same_artifact(
    tiny_policy, data_folders, tmp_path, monkeypatch
):
    inputs = external_artifact(tiny_policy), [external_artifact(data_folders["pairs"])]
    config = config_of(training={"save_every": 2, "num_train_epochs": 2})
    digests = []
    for name in ("whole", "resumed"):
        monkeypatch.setenv("SPARRING_HOME", str(tmp_path / name))
        if name == "resumed":
            with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="plug"):
                patched.setattr(Snapshots, "finish", _pull_the_plug)
                update_tqr(*inputs, config=config, seed=0)
        digests.append(update_tqr(*inputs, config=config, seed=0).digest)
    assert digests[0] == digests[1]


def _pull_the_plug(*given: object) -> None:
    raise RuntimeError("pulled the plug")


def test_without_irl_terms_imitation_is_sft(tiny_policy, tmp_path, recording_log):
    """Responses of m tokens each: SFT sums over them and AVA-d takes their mean, so its rate is m
    times as large. Behind so large an epsilon AdamW is plain descent."""
    asked = ("yes no tea", "tea no yes", "no tea yes", "tea yes no")
    groups = [Group((Message("user", f"{text}?"),), ("yes please",)) for text in asked]
    write_groups(tmp_path / "data", groups)
    plain = {"adam_epsilon": 1e6, "max_grad_norm": 0.0, "batch_size": 2, "learning_rate": 1e3}
    training = config_of(training=plain).training
    policy = PolicyConfig(method="sft", limits=LIMITS, training=training)
    update(tmp_path / "sft", tiny_policy, tmp_path / "data", policy, recording_log)
    sft = recording_log.metrics[0][1]
    rate = {"learning_rate": 1e3 * sft["loss"] / sft["nats_per_token"]}
    config = config_of("ava_d", training=plain | rate, ava={"lam": 0, "c_kl": 0})
    train(tmp_path / "ava", tiny_policy, tmp_path / "data", config)
    ours, theirs, start = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "ava/output", tmp_path / "sft/output", tiny_policy)
    )
    moved = max((theirs[name] - start[name]).abs().max().item() for name in start)
    off = max((ours[name] - theirs[name]).abs().max().item() for name in start)
    assert moved > 1e-3 and off < 1e-4 * moved


@pytest.mark.parametrize("part", [{"lora": LoraConfig(rank=2)}, {"trainable_layers": 1}])
def test_a_part_of_the_weights_and_all_heads(part, tiny_policy, data_folders, tmp_path):
    config = config_of(training=part)
    train(tmp_path, tiny_policy, data_folders["pairs"], config)
    trained, start = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "output", tiny_policy)
    )
    frozen = {name for name in start if torch.equal(start[name], trained[name])}
    assert frozen and frozen != set(start)
    assert (tmp_path / "output/adapter").exists() == ("lora" in part)
    heads = load_tqr(tmp_path / "output").heads
    assert all(part.any() for part in heads.parameters())


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_models_with_an_encoder_learn_by_every_objective(
    kind, tiny_policy, data_folders, tmp_path, recording_log
):
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        T5Config,
        T5ForConditionalGeneration,
    )

    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("eos", "pad")}
    shape = {"vocab_size": len(tokenizer), "decoder_start_token_id": ids["eos_token_id"], **ids}
    if kind == "bart":
        sizes = {f"{side}_{what}": 1 for side in ("encoder", "decoder") for what in ("layers",)}
        sizes |= {f"{side}_ffn_dim": 16 for side in ("encoder", "decoder")}
        sizes |= {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
        config = BartConfig(d_model=16, max_position_embeddings=128, **sizes, **shape)
        model = BartForConditionalGeneration(config)
    else:
        t5 = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, **shape)
        model = T5ForConditionalGeneration(t5)
    save_model(model, tokenizer, tmp_path / "base", "plain")
    for objective in OBJECTIVES:
        recording_log.metrics.clear()
        config = config_of(objective)
        path = tmp_path / objective
        train(path, tmp_path / "base", data_folders["pairs"], config, recording_log)
        steps = [values["loss"] for step, values in recording_log.metrics if step]
        assert fmean(steps[-2:]) < fmean(steps[:2])
        assert load_tqr(path / "output").heads.config == config.model


def test_it_goes_on_from_its_own_heads_alone(tiny_policy, data_folders, tmp_path, recording_log):
    data = data_folders["pairs"]
    train(tmp_path / "first", tiny_policy, data, config_of(), recording_log)
    start = tmp_path / "first" / "output"
    recording_log.metrics.clear()
    train(tmp_path / "second", start, data, config_of(), recording_log)
    assert recording_log.metrics[0][1]["accuracy/last"] > 0.5
    with pytest.raises(ConfigError, match=r"has other settings than this training \(alpha\)"):
        train(tmp_path / "third", start, data, config_of(tqr=TqrConfig(alpha=2.0)))


@pytest.mark.slow
@pytest.mark.parametrize("zero", ["zero2", "zero3"])
def test_sharded_over_two_processes_it_resumes_to_the_same_bytes(
    zero, tiny_policy, data_folders, tmp_path
):
    """As one process does, to rounding; resumed at every checkpoint to the bit, heads too."""
    keep = {"save_every": 1, "keep_checkpoints": 100, "num_train_epochs": 2}
    data = data_folders["pairs"]
    alone = train(tmp_path / "alone", tiny_policy, data, config_of(training=keep))
    config = config_of(training=keep | {"deepspeed": zero, "processes": 2})
    whole = train(tmp_path / "whole", tiny_policy, data, config)
    assert whole["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    cut = cut_back(tmp_path / "whole")
    assert len(cut) == 3
    for path in cut:
        assert train(path, tiny_policy, data, config) == whole
        assert digest_tree(path / "output") == digest_tree(tmp_path / "whole/output")
    ours, theirs = (
        load_file(tmp_path / name / "output" / HEADS_FILE) for name in ("alone", "whole")
    )
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-3), name
