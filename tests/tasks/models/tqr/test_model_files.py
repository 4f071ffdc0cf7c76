"""A TQR's folder: the same bytes again, a plain policy beside its heads, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from transformers import AutoModelForCausalLM, GenerationConfig

from tasks.models.loading import save_model
from tasks.models.policy import load_policy
from tasks.models.reward_model import load_reward_model
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.group_tqr import GroupTqr
from tasks.models.tqr.marker import TQR_FILE, tqr_config
from tasks.models.tqr.model_files import load_tqr, save_tqr
from tasks.settings.errors import ConfigError
from tests.tasks.models import families
from tests.tasks.models.families import PAD, group
from tests.tasks.models.tqr.tqr_models import on_folder, random_heads


def saved(build: Any, tokenizer: Any, folder: Path, kind: str = "llama", **config: Any) -> GroupTqr:
    """A TQR with random heads, saved in a folder of its own."""
    save_model(build(kind), tokenizer, folder.parent / "backbone", "hh")
    tqr = on_folder(folder.parent / "backbone", **config)
    tqr.heads = random_heads(tqr.heads.config, tqr.model)
    save_tqr(tqr.model, tqr.heads, tokenizer, folder, "hh", max_new_tokens=30)
    return tqr


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("kind", "config"),
    [("llama", {"alpha": 2.0}), ("gpt2", {"ptq": False, "rwt": False, "beta": 2.0})],
)
@torch.no_grad()
def test_it_loads_again_and_saves_the_same_bytes(
    build: Any, tokenizer: Any, tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    tqr = saved(build, tokenizer, tmp_path / "tqr", kind, **config)
    again = load_tqr(tmp_path / "tqr")
    assert again.heads.config == tqr.heads.config and not again.training
    batch = tqr.batch([group(3, [4, 2])], PAD)
    for mine, his in zip(tqr(batch).terms, again(batch).terms, strict=True):
        assert torch.equal(mine, his)
    save_tqr(again.model, again.heads, tokenizer, tmp_path / "again", "hh", max_new_tokens=30)
    assert files(tmp_path / "again") == files(tmp_path / "tqr")


@pytest.mark.parametrize(
    ("config", "temperature"),
    [({"alpha": 2.0}, 0.5), ({"alpha": 5.0, "q_map": "prob"}, 1.0)],
)
def test_transformers_loads_the_policy_and_draws_as_it_was_trained(
    build: Any, tokenizer: Any, tmp_path: Path, config: dict[str, Any], temperature: float
) -> None:
    tqr = saved(build, tokenizer, tmp_path / "tqr", **config)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tqr")
    ours, theirs = tqr.model.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # No pad was added to the vocabulary.
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    how = GenerationConfig.from_pretrained(tmp_path / "tqr")
    assert (how.do_sample, how.temperature, how.max_new_tokens) == (True, temperature, 30)
    assert how.top_k in (0, None) and how.top_p in (1.0, None)
    load_policy(tmp_path / "tqr")
    model.generate(torch.tensor([[5, 6]]), max_new_tokens=3)


def test_an_index_names_the_files_of_the_language_model_alone(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """By it vLLM, which reads all weights of a folder, leaves out the heads."""
    saved(build, tokenizer, tmp_path / "tqr")
    index = json.loads((tmp_path / "tqr" / "model.safetensors.index.json").read_text())
    weights = load_file(tmp_path / "tqr" / "model.safetensors")
    assert index["weight_map"] == dict.fromkeys(weights, "model.safetensors")


def test_an_encoder_decoder_has_a_folder_too(tokenizer: Any, tmp_path: Path) -> None:
    model = families.build("bart")
    tqr = GroupTqr(model, random_heads(TqrConfig(), model))
    save_tqr(tqr.model, tqr.heads, tokenizer, tmp_path, "hh")
    again = load_tqr(tmp_path)
    with torch.no_grad():
        batch = tqr.batch([group(3, [4])], PAD)
        assert torch.equal(tqr(batch).terms.q, again(batch).terms.q)


def test_no_loader_takes_it_for_something_else(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    saved(build, tokenizer, tmp_path / "tqr", ptq=False)
    with pytest.raises(ConfigError, match="is a TQR without ptq"):
        load_policy(tmp_path / "tqr")
    with pytest.raises(ConfigError, match="is a TQR: it has rewards for each token"):
        load_reward_model(tmp_path / "tqr")
    assert tqr_config(tmp_path / "backbone") is None
    with pytest.raises(ConfigError, match="backbone' holds no TQR"):
        load_tqr(tmp_path / "backbone")


def test_what_is_damaged_is_refused(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tqr"
    saved(build, tokenizer, folder)
    heads = load_file(folder / "tqr.safetensors")
    del heads["queries.weight"]
    (folder / "tqr.safetensors").write_bytes(save(heads))
    with pytest.raises(ConfigError, match=r"tqr\.safetensors' cannot be loaded.*queries"):
        load_tqr(folder)
    (folder / "tqr.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"tqr\.safetensors' cannot be loaded"):
        load_tqr(folder)
    for text in ('{"alpha": -1}', "{", '{"gamma": 1}'):
        (folder / TQR_FILE).write_text(text)
        with pytest.raises(ConfigError, match="not a TQR's settings"):
            tqr_config(folder)


def test_a_reward_model_is_no_backbone(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    families.build("llama", "ForSequenceClassification").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="lacks 1 weights .*lm_head"):
        on_folder(tmp_path)
