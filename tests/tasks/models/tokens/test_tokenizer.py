"""Tokenizers: deterministic, lossless, special tokens apart; foreign code refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.tokens.tokenizer import ensure_pad, load_tokenizer, train_tokenizer
from tasks.settings.errors import ConfigError


def test_special_tokens_are_three_and_bos_comes_first(tokenizer: Any) -> None:
    ids = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert len(ids) == 3 and None not in ids
    assert tokenizer("it is")["input_ids"][0] == tokenizer.bos_token_id
    assert len(tokenizer) <= 320


@given(text=st.text())
def test_any_text_comes_back(tokenizer_folder: Path, text: str) -> None:
    tokenizer = _loaded(tokenizer_folder)
    text = text.encode("utf-8", "ignore").decode()  # lone surrogates are no text
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_training_is_deterministic_across_processes(
    texts: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import json, sys; from tasks.models.tokens.tokenizer import train_tokenizer; "
        "train_tokenizer(iter(json.load(open(sys.argv[1]))), 320, sys.argv[2])"
    )
    corpus = tmp_path / "texts.json"
    corpus.write_text(json.dumps(texts))
    for seed in ("1", "2"):
        target = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, str(corpus), str(target)],
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            cwd=Path(__file__).parents[4],
        )
        for file in tokenizer_folder.iterdir():
            assert (target / file.name).read_bytes() == file.read_bytes()


def test_saved_again_it_has_the_same_bytes(tokenizer_folder: Path, tmp_path: Path) -> None:
    load_tokenizer(tokenizer_folder).save_pretrained(tmp_path)
    for file in tokenizer_folder.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_too_small_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="259 are needed"):
        train_tokenizer(iter(["a"]), 258, tmp_path)


def test_pad_is_added_only_where_it_is_missing_or_eos(tokenizer: Any) -> None:
    assert not ensure_pad(tokenizer)
    size = len(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    assert ensure_pad(tokenizer)
    assert tokenizer.pad_token_id == size != tokenizer.eos_token_id


def test_unloadable_tokenizers_are_config_errors(tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_tokenizer(tmp_path / "nowhere")
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "evil.T"}}')
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    with pytest.raises(ConfigError, match="auto_map"):
        load_tokenizer(tmp_path)
    assert not (tmp_path / "marker").exists()


_CACHE: dict[Path, Any] = {}


def _loaded(folder: Path) -> Any:
    if folder not in _CACHE:
        _CACHE[folder] = load_tokenizer(folder)
    return _CACHE[folder]
