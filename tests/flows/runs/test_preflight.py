"""Which models are looked at before the first stage, and that each is opened."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from flows.configs.apo import ApoConfig
from flows.configs.recurring import ModelSource
from flows.runs.preflight import check_files, check_gpus, check_model, check_models
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config

SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"


def config(model: dict[str, Any] | None = None, **changes: Any) -> ApoConfig:
    tree = load_config(SMALL)
    return ApoConfig(**{**tree, "model": model or tree["model"], **changes})


def test_a_built_architecture_is_no_named_model() -> None:
    assert list(config().named_models()) == []
    check_models(config())


def test_every_named_model_with_its_revision() -> None:
    wanted = config({"hub": "a/b", "revision": "v2"}, compare_with={"other": "c/d"})
    found = [(model.source, model.revision) for model in wanted.named_models()]
    assert found == [("a/b", "v2"), ("c/d", None)]


def test_a_model_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        check_models(config({"path": str(tmp_path / "nowhere")}))


def test_what_a_run_makes_itself_and_what_lies_on_the_hub_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_files(config())
    check_files(config({"hub": "a/b"}, compare_with={"other": "c/d"}))
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


@pytest.mark.parametrize(
    "changes",
    [
        {"gold": {"path": "no.jsonl"}},
        {"data": {"preferences": [{"path": "no.jsonl"}]}},
        {"data": {"playground": {}, "test": [{"path": "no.jsonl"}]}},
        {"compare_with": {"other": "./no.jsonl"}},
        {"reward": {"base": "./no.jsonl"}},
        {"model": {"path": "no.jsonl"}},
    ],
)
def test_a_missing_file_is_named_with_the_folder_it_counts_from(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"no\.jsonl'?, seen from {tmp_path}"):
        check_files(config(**changes))


@pytest.mark.parametrize("text", ["", " \n\n", "[]", "PK\x03\x04"])
def test_a_file_without_a_record_is_found_before_anything_runs(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"pairs\.jsonl (is empty, it holds no record|is a zip archive)"
    ):
        check_files(config(data={"preferences": [{"path": str(path)}]}))


@pytest.mark.parametrize(
    ("content", "said"), [(b"GGUF", "cannot be read .*fetch it again"), (b"<html>", "no GGUF file")]
)
def test_a_file_that_is_no_model_is_found_by_a_dry_run(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        check_files(config({"path": str(path)}))


@pytest.mark.parametrize("key", ["max_position_embeddings", "n_positions"])
def test_limits_beyond_a_models_context_are_found_without_loading_it(
    key: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", key: 64}))
    (tmp_path / "model.safetensors").touch()
    wanted = config({"path": str(tmp_path)})
    needed = max(limits.longest for limits in wanted.policy_limits())
    with pytest.raises(ConfigError, match=f"has a context of 64 tokens, but .* = {needed}: lower"):
        check_files(wanted)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", key: needed}))
    check_files(wanted)


def test_a_model_with_an_encoder_is_found_without_loading_it(tmp_path: Path) -> None:
    said = {"model_type": "t5", "is_encoder_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(said))
    (tmp_path / "model.safetensors").touch()
    wanted = config({"path": str(tmp_path)})
    with pytest.raises(ConfigError, match="has an encoder for the prompt, .*: take a decoder such"):
        check_files(wanted)
    reward = {"base": str(tmp_path), "template": "plain"}
    with pytest.raises(ConfigError, match="has an encoder"):
        check_files(config(reward=reward))


@pytest.mark.parametrize("kind", ["LlamaConfig", "BartConfig", "T5Config"])
def test_more_layers_to_train_than_a_model_has_are_found_before_a_stage(
    kind: str, tmp_path: Path
) -> None:
    import transformers

    sizes = {"num_hidden_layers": 2, "num_layers": 3, "num_decoder_layers": 2}
    sizes |= {"encoder_layers": 3, "decoder_layers": 2}
    shape = getattr(transformers, kind)(**sizes)
    shape.save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    asked = ModelSource(str(tmp_path), "plain", (), layers=("sft.training.trainable_layers", 3))
    with pytest.raises(ConfigError, match=r"trainable_layers is 3, and the model .* has 2 layers"):
        check_model(asked)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_one_that_every_library_takes(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        config(seed=seed)
    with pytest.raises(ValueError, match=r"data\.split\.seed"):
        config(data={"playground": {}, "split": {"seed": seed}})
    assert config(seed=2**32 - 1).seed == 2**32 - 1


def test_nobody_is_tested_on_the_rows_that_are_trained_on() -> None:
    same = {"preferences": [{"path": "a"}, {"path": "b.jsonl"}], "test": [{"path": "./b.jsonl"}]}
    with pytest.raises(ValueError, match=r"`test` names the rows of `preferences` \(\./b\.jsonl\)"):
        config(data=same)
    other = [{"path": "b.jsonl", "where": {"part": "test"}}]
    assert config(data={**same, "test": other}).data.test


def test_the_pairs_answer_no_queries_of_others() -> None:
    data = {"playground": {}, "rm_queries": [{"path": "queries.jsonl"}]}
    with pytest.raises(ValueError, match="the pairs do not answer data.rm_queries"):
        config(data=data, gold={"provider": "chosen"})


@pytest.mark.parametrize(
    ("there", "placement", "refusal"),
    [
        (0, {}, ""),  # on the processor
        (8, {}, ""),
        (2, {}, "policy.training.processes is 8, .* and this machine shows 2: lower it"),
        (2, {"gpu": "big"}, ""),
        (2, {"gpu": {"pool": "big", "slots": 8}}, ""),
        (8, {"gpu": {"pool": "big", "slots": 4}}, "placement.gpu.slots of pool 'big' says 4"),
        (2, {"cpu": {"pool": "big", "slots": 8}}, "this machine shows 2"),
    ],
)
def test_too_few_gpus_are_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, there: int, placement: dict[str, Any], refusal: str
) -> None:
    shown = tuple(map(str, range(there)))
    monkeypatch.setattr("tasks.stages.leases.gpus.machine_gpus", lambda: shown)
    policy = load_config(SMALL)["policy"]
    policy["training"] = {**policy["training"], "processes": 8}
    wanted = config(policy=policy, placement=placement)
    with pytest.raises(ConfigError, match=refusal) if refusal else nullcontext():
        check_gpus(wanted)
    check_gpus(config(placement=placement))
