"""A GGUF file becomes the model that was packed into it, or is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from tasks.models.base_policy import PolicyModelConfig, write_base_policy
from tasks.models.policy import load_policy
from tasks.models.pretrained.gguf_files import is_gguf
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tests.tasks.models.pretrained.small_gguf import write_gguf

TEXT = "what is 3 plus 4? it is 7, sir"


def unpacked(file: Path, folder: Path) -> Path:
    """Make the base policy of a run from a file."""
    config = PolicyModelConfig(path=str(file))
    write_base_policy(config, file, iter(()), folder, 0, NullLog())
    return folder


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.float()(input_ids=torch.tensor([ids])).logits


def test_the_model_of_a_file_is_the_one_that_was_written(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """In float32 to the last digit but rounding, tokenizer and chat template with it."""
    model = build("llama", kv_heads=1)
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer)
    # The file is known by what is in it: a cache may call it by its digest.
    named = file.rename(tmp_path / "b179c9523d0e")
    folder = unpacked(named, tmp_path / "model")
    own, policy = load_tokenizer(folder), load_policy(folder)
    assert policy.dtype == torch.float32
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert own(TEXT, add_special_tokens=False)["input_ids"] == ids
    assert (own.eos_token_id, own.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    said = own.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False)
    assert said == "hello "
    torch.testing.assert_close(logits(policy, ids), logits(model, ids), atol=1e-5, rtol=1e-5)
    assert "quantization_config" not in policy.config.to_dict()


def test_packed_weights_are_kept_in_bfloat16(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = build("llama", hidden_size=32, feed_forward=64)
    kind = gguf.GGMLQuantizationType.Q8_0
    folder = unpacked(write_gguf(tmp_path / "m.gguf", model, tokenizer, kind=kind), tmp_path / "m")
    policy = load_policy(folder)
    assert policy.dtype == torch.bfloat16
    ids = tokenizer(TEXT)["input_ids"]
    expected = logits(model, ids)
    assert float((logits(policy, ids) - expected).norm() / expected.norm()) < 0.03


def test_another_architecture_is_named(build: Any, tokenizer: Any, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", build("llama"), tokenizer, architecture="megalodon")
    with pytest.raises(ConfigError, match=r"'megalodon', which .*known: .*llama") as refused:
        unpacked(file, tmp_path / "model")
    assert "general" not in str(refused.value), "a section of every file"
    with pytest.raises(ConfigError, match="'megalodon'"):
        load_tokenizer(file)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("kept", "said"), [(0.7, "breaks off"), (0.01, "cannot be read")])
def test_a_file_that_breaks_off_is_refused(
    build: Any, tokenizer: Any, tmp_path: Path, kept: float, said: str
) -> None:
    file = write_gguf(tmp_path / "m.gguf", build("llama"), tokenizer)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ConfigError, match=f"{said}.*fetch it again"):
        unpacked(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_no_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("a page that says: not found")
    assert not is_gguf(tmp_path / "m.gguf") and not is_gguf(tmp_path)
    with pytest.raises(ConfigError, match="no folder and no GGUF file"):
        load_policy(tmp_path / "m.gguf")
