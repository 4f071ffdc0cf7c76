"""Saving and loading: everything in the folder, safetensors only, foreign code never run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.models.loading import load_weights, save_model
from tasks.models.policy import load_policy
from tasks.models.reward_model import build_reward_model, load_reward_model
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tests.tasks.models.families import saved_template


@pytest.fixture
def folder(policy: Any, tokenizer: Any, tmp_path: Path) -> Path:
    save_model(policy, tokenizer, tmp_path / "model", "hh")
    return tmp_path / "model"


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


class Bomb:
    """Leaves a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def test_saved_again_the_folder_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    second, third = tmp_path / "second", tmp_path / "third"
    save_model(load_policy(folder), load_tokenizer(folder), second)
    save_model(load_policy(second), load_tokenizer(second), third)
    assert {file.name for file in second.iterdir()} == {file.name for file in third.iterdir()}
    assert not [file for file in second.iterdir() if file.suffix in (".bin", ".pt")]
    for file in third.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_template_is_known_again(folder: Path, tokenizer: Any, build: Any, tmp_path: Path) -> None:
    assert saved_template(folder) == "hh"
    assert tokenizer.chat_template is None  # the caller's tokenizer stays as it was
    save_model(build(), tokenizer, tmp_path / "bare")
    assert saved_template(tmp_path / "bare") is None


def test_a_folder_says_how_it_generates(folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    """EOS, pad, and draws from the whole distribution: transformers' own default is the top 50."""
    from transformers import GenerationConfig

    policy = load_policy(folder)
    said = policy.generation_config
    assert (said.eos_token_id, said.pad_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    assert (said.do_sample, said.temperature, said.top_k, said.top_p) == (True, 1.0, 0, 1.0)
    assert said.max_new_tokens is None
    # What a model says of itself stays, and its own ends are kept beside EOS.
    policy.generation_config = GenerationConfig(eos_token_id=7, do_sample=True, top_p=0.8)
    save_model(policy, tokenizer, tmp_path / "own", "hh", max_new_tokens=12)
    assert policy.generation_config.eos_token_id == 7  # the caller's model stays as it was
    own = load_policy(tmp_path / "own").generation_config
    assert own.eos_token_id == [tokenizer.eos_token_id, 7]
    assert (own.top_p, own.top_k, own.max_new_tokens) == (0.8, None, 12)


def test_without_a_pad_of_its_own_eos_is_padded_with(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    model = build()
    tokenizer.pad_token = model.generation_config.pad_token_id = None
    save_model(model, tokenizer, tmp_path)
    assert load_policy(tmp_path).generation_config.pad_token_id == tokenizer.eos_token_id


def test_weights_come_back_whole_and_nobody_is_disturbed(folder: Path, policy: Any) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loaded = load_policy(folder)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.pth"])
def test_pickled_weights_are_never_read(folder: Path, name: str, tmp_path: Path) -> None:
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "marker")))
    load_policy(folder)  # beside safetensors they are passed over
    (folder / "model.safetensors").unlink()
    for load in (load_policy, load_reward_model):
        with pytest.raises(ConfigError, match=f"only pickled weights .{name}"):
            load(folder)
    assert not (tmp_path / "marker").exists()


def test_pickles_behind_other_names_are_refused(folder: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    (folder / "adapter").mkdir()
    for name in ("adapter_model.bin", "adapter/evil.pt"):
        (folder / name).write_bytes(bomb)
        with pytest.raises(ConfigError, match="pickled adapter"):
            load_policy(folder)
        (folder / name).unlink()
    (folder / "evil.bin").write_bytes(bomb)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "evil.bin"}}))
    with pytest.raises(ConfigError, match=r"names pickled weights \(evil\.bin\)"):
        load_policy(folder)
    index.unlink()
    edit(folder / "config.json", transformers_weights="evil.bin")
    with pytest.raises(ConfigError, match=r"evil\.bin"):
        load_policy(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}),
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
        ("config.json", {"_attn_implementation": "someone/kernel"}),
        ("config.json", {"text_config": {"deep": [{"auto_map": {}}]}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "evil.Tokenizer"}}),
        ("generation_config.json", {"trust_remote_code": True}),
    ],
)
def test_configs_that_ask_for_code_are_refused_before_import(
    folder: Path, tmp_path: Path, file: str, values: dict[str, Any]
) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    edit(folder / file, **values)
    for load in (load_policy, load_reward_model, load_tokenizer):
        with pytest.raises(ConfigError, match="never run"):
            load(folder)
    assert not (tmp_path / "marker").exists()


def test_every_failure_is_one_sentence_with_the_path(folder: Path, tmp_path: Path) -> None:
    def message(path: Path | str) -> str:
        with pytest.raises(ConfigError) as caught:
            load_policy(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        return str(caught.value)

    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in message(tmp_path / "empty")
    assert "hub name that this machine can reach" in message("nobody/no-such-model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "cannot be loaded" in message(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text('{"model_type": "no-such-architecture"}')
    assert "no-such-architecture" in message(folder)
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in message(folder)


def test_reward_model_is_no_policy_unless_embeddings_are_tied(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    model = build("llama")
    model.config.tie_word_embeddings = False
    save_model(model, tokenizer, tmp_path / "policy", "hh")
    reward_model = build_reward_model(tmp_path / "policy", tokenizer)
    save_model(reward_model, tokenizer, tmp_path / "reward", "hh")
    with pytest.raises(ConfigError, match=r"lacks 1 weights .*lm_head"):
        load_policy(tmp_path / "reward")


def test_context_is_entered_around_loading(folder: Path) -> None:
    from contextlib import contextmanager

    from transformers import AutoModelForCausalLM

    events = []

    @contextmanager
    def context() -> Any:
        events.append("in")
        yield
        events.append("out")

    load_weights(AutoModelForCausalLM, folder, context=context(), dtype="bfloat16")
    assert events == ["in", "out"]
    assert load_policy(folder, context(), dtype="bfloat16").dtype == torch.bfloat16
