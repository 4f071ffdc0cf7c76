"""Loads a registered model from the store of Sparring that its weights lie in.

A copy of this file travels with the description of every model, where MLflow imports it for
`mlflow.pyfunc`, and transformers for `mlflow.transformers`. So it rests on transformers alone; the
installed Sparring is asked where there is one, for it can verify weights and fetch them, and a TQR
cannot be read without it.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

_POINTER = "sparring.json"
_PASSED_ON = ("dtype", "torch_dtype", "device_map", "low_cpu_mem_usage", "attn_implementation")


class ModelUnavailableError(RuntimeError):
    """The weights cannot be reached from here; the message says what to do."""


class StoredModel:
    """What transformers takes for the class of the model: it gives the one that lies in the store.

    MLflow sees to it that transformers may import it.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Do nothing: it is not saved with a model."""

    @classmethod
    def from_pretrained(cls, path: Any, *_: Any, **given: Any) -> Any:
        """Return the model whose description lies around `path`."""
        pointer, folder = stored(path)
        kept = {name: given[name] for name in _PASSED_ON if name in given}
        return _load(pointer, folder, **kept)


class StoredTokenizer:
    """The same for its tokenizer."""

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Do nothing: it is not saved with a model."""

    @classmethod
    def from_pretrained(cls, path: Any, *_: Any, **__: Any) -> Any:
        """Return the tokenizer of the model whose description lies around `path`."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(stored(path)[1])


class Policy:
    """A policy as MLflow calls it: texts in, texts out."""

    def __init__(self, pointer: dict[str, Any], folder: Path) -> None:
        """Load it onto the device that there is."""
        self.model, self.tokenizer = _place(_load(pointer, folder)), _tokenizer(folder)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[str]:
        """Return an answer to each prompt, a text or the turns of a conversation as JSON.

        With the same seed a prompt gets the same answer, whatever stands beside it.
        """
        import torch

        chosen = params or {}
        temperature = float(chosen.get("temperature", 1.0))
        how: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            how["temperature"] = temperature
        if "max_new_tokens" in chosen:
            how["max_new_tokens"] = int(chosen["max_new_tokens"])
        answers = []
        for prompt in _texts(model_input):
            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(int(chosen.get("seed", 0)))
                answers.append(self._answer(prompt, how))
        return answers

    def _answer(self, prompt: str, how: dict[str, Any]) -> str:
        inputs = self.tokenizer.apply_chat_template(
            _turns(prompt), add_generation_prompt=True, return_dict=True, return_tensors="pt"
        ).to(self.model.device)
        output = self.model.generate(**inputs, **how)[0]
        has_encoder = self.model.config.is_encoder_decoder
        start = 0 if has_encoder else inputs["input_ids"].shape[1]
        return str(self.tokenizer.decode(output[start:], skip_special_tokens=True))


class RewardModel:
    """A reward model as MLflow calls it: prompts and responses in, scores out."""

    def __init__(self, pointer: dict[str, Any], folder: Path) -> None:
        """Load it onto the device that there is."""
        self.model = _place(_load(pointer, folder, dtype="float32"))
        self.tokenizer = _tokenizer(folder)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[float]:
        """Return the score of each response; only those to one prompt compare."""
        import torch

        scores = []
        for prompt, response in _pairs(model_input):
            messages = [*_turns(prompt), {"role": "assistant", "content": response}]
            inputs = self.tokenizer.apply_chat_template(
                messages, return_dict=True, return_tensors="pt"
            ).to(self.model.device)
            with torch.inference_mode():
                scores.append(self.model(**inputs).logits[0, 0].item())
        return scores


class Tqr:
    """A TQR of AVA as MLflow calls it: as a reward model, by the installed Sparring."""

    def __init__(self, pointer: dict[str, Any], folder: Path) -> None:
        """Load it onto the device that there is."""
        reader = _reader(pointer)
        if reader is None:
            raise ModelUnavailableError(
                f"{_title(pointer)} is a TQR, which transformers alone cannot read: install "
                "Sparring here, from a clone by `pip install .`"
            )
        self._score = reader.tqr_scores(folder)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[float]:
        """Return the score of each response; only those to one prompt compare."""
        pairs = _pairs(model_input)
        return list(self._score([(_turns(prompt), response) for prompt, response in pairs]))


def stored(described: Any) -> tuple[dict[str, Any], Path]:
    """Return what a description says of its model, and the folder that holds the weights.

    Args:
        described: The description's folder, or one inside.

    Raises:
        ModelUnavailableError: The weights are not here, and cannot be fetched.
    """
    here = Path(described).absolute()
    places = (place / _POINTER for place in (here, *here.parents))
    pointer = json.loads(next(place for place in places if place.is_file()).read_text("utf-8"))
    if (reader := _reader(pointer)) is not None:
        try:
            return pointer, reader.stored_folder(pointer)
        except Exception as error:  # whatever it is, the model is not to be had
            raise ModelUnavailableError(f"{_title(pointer)} cannot be loaded: {error}") from error
    folder = Path(pointer["folder"])
    if (folder / "config.json").is_file():
        return pointer, folder
    also = f", or install Sparring here, which fetches it from {pointer['remote']}"
    raise ModelUnavailableError(
        f"{_title(pointer)} is not in {folder} any more: bring that folder back"
        f"{also if pointer['remote'] else ''}"
    )


def _load_pyfunc(path: str) -> Any:
    """Load the model of a description, as MLflow asks for it."""
    pointer, folder = stored(path)
    if pointer["role"] == "policy":
        return Policy(pointer, folder)
    return Tqr(pointer, folder) if (folder / "tqr.json").is_file() else RewardModel(pointer, folder)


def _reader(pointer: dict[str, Any]) -> Any:
    """Return the part of Sparring that knows its store; None where it is not installed."""
    try:
        return importlib.import_module(pointer["reader"])
    except ModuleNotFoundError:
        return None


def _title(pointer: dict[str, Any]) -> str:
    return f"the {pointer['role'].replace('_', ' ')} {pointer['title']} ({pointer['key'][:16]})"


def _load(pointer: dict[str, Any], folder: Path, **given: Any) -> Any:
    """Load weights in eval mode, from safetensors and without code from the folder."""
    import transformers

    kind = "AutoModelForSequenceClassification"
    if pointer["role"] == "policy":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        has_encoder = config.get("is_encoder_decoder")
        kind = "AutoModelForSeq2SeqLM" if has_encoder else "AutoModelForCausalLM"
    loader = getattr(transformers, kind)
    return loader.from_pretrained(folder, use_safetensors=True, **given).eval()


def _place(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _turns(prompt: str) -> list[dict[str, str]]:
    """Return a prompt as turns: a text is one of the user's, JSON may hold a whole conversation."""
    if prompt.lstrip().startswith('[{"'):
        turns = json.loads(prompt)
        return [{"role": turn["role"], "content": turn["content"]} for turn in turns]
    return [{"role": "user", "content": prompt}]


def _texts(model_input: Any) -> list[str]:
    """Return the texts of a table's first column, a list, or one text."""
    if isinstance(model_input, str):
        return [model_input]
    if hasattr(model_input, "iloc"):
        model_input = model_input.iloc[:, 0]
    return [str(text) for text in model_input]


def _pairs(model_input: Any) -> list[tuple[str, str]]:
    """Return prompts and responses of a table, whose cells MLflow may have left lists."""
    columns = (
        [
            text
            for cell in model_input[name]
            for text in (cell if isinstance(cell, list) else [cell])
        ]
        for name in ("prompt", "response")
    )
    return list(zip(*columns, strict=True))
