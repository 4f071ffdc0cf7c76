"""The description of a model: what MLflow needs to load it, small files without any weight."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from tasks.storage.files import write_atomic, write_json
from tasks.tracking.mlflow_record.registered import sparring_model

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_CODE = Path(sparring_model.__file__)
_STAND_IN = "components/tokenizer"
"""Where the flavor transformers looks for a tokenizer; the model itself it finds where we say."""
_NEEDED = ("mlflow", "torch", "transformers", "safetensors")
_LONGEST_ANSWER = 128
_PROMPT, _RESPONSE = "Good morning! How do I bake bread?", "Mix flour and water, and wait."
_README = Template("""\
# $title

A $kind that Sparring made. The weights are not among these files. They lie here:

- `$folder`$remote
- DVC's digest: `$digest`
- stage and key: `$stage/$key`

The code beside this page loads them from there. Where Sparring is installed it verifies them, and
what only the remote has it fetches first.

```python
$usage
```
""")
_CALL = "mlflow.pyfunc.load_model(uri).predict"
_POLICY = f'{_CALL}(["{_PROMPT}"])'
_REWARD = f'{_CALL}([{{"prompt": "{_PROMPT}", "response": "{_RESPONSE}"}}])'
_PIPELINE = "\nmlflow.transformers.load_model(uri)  # the pipeline of transformers"


def write_description(folder: Path, model: str, pointer: Mapping[str, Any]) -> None:
    """Write the files by which MLflow loads a model.

    Args:
        folder: A new folder.
        model: MLflow's id of the logged model.
        pointer: What the stage said of its model (see `Spool.stage_finished`), and its `role`.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    made = Model(model_id=model, metadata={"sparring": dict(pointer)})
    is_policy = pointer["role"] == "policy"
    example = [_PROMPT] if is_policy else {"prompt": _PROMPT, "response": _RESPONSE}
    pyfunc.save_model(
        folder,
        loader_module=_CODE.stem,
        code_paths=[str(_CODE)],
        mlflow_model=made,
        signature=_signature(pointer),
        input_example=example,
        # An index has no `2.13.0+cpu`.
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _NEEDED],
    )
    # A TQR has no head that transformers knows for its score.
    is_plain = is_policy or pointer["roles"] == ["reward_model"] == [pointer["produces"]]
    if is_loaded_by_transformers := bool(pointer["model_type"]) and is_plain:
        _add_transformers(folder, made, pointer)
        made.save(str(folder / "MLmodel"))
    write_json(folder / "sparring.json", dict(pointer))
    usage = (_POLICY if is_policy else _REWARD) + _PIPELINE * is_loaded_by_transformers
    remote = f"\n- on the remote `{pointer['remote']}`" if pointer["remote"] else ""
    kind = pointer["role"].replace("_", " ")
    text = _README.substitute({**pointer, "kind": kind, "usage": usage, "remote": remote})
    write_atomic(folder / "README.md", text)


def _signature(pointer: Mapping[str, Any]) -> ModelSignature:
    """Return what a model takes and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    if pointer["role"] != "policy":
        inputs = Schema([ColSpec("string", "prompt"), ColSpec("string", "response")])
        return ModelSignature(inputs, Schema([ColSpec("double")]))
    params = [
        ParamSpec("max_new_tokens", "long", int(pointer.get("max_new_tokens") or _LONGEST_ANSWER)),
        ParamSpec("temperature", "double", 1.0),
        ParamSpec("seed", "long", 0),
    ]
    text = Schema([ColSpec("string")])
    return ModelSignature(text, text, ParamSchema(params))


def _add_transformers(folder: Path, model: Any, pointer: Mapping[str, Any]) -> None:
    """Let `mlflow.transformers` load the model by the classes of ours that stand for it.

    It takes a class that transformers does not know for one whose code lies beside the config.
    """
    is_policy = pointer["role"] == "policy"
    task = "text-generation" if is_policy else "text-classification"
    auto = "AutoModelForCausalLM" if is_policy else "AutoModelForSequenceClassification"
    model.add_flavor(
        "transformers",
        transformers_version=version("transformers"),
        task=task,
        instance_type="TextGenerationPipeline" if is_policy else "TextClassificationPipeline",
        pipeline_model_type="StoredModel",
        model_binary=_STAND_IN,
        components=["tokenizer"],
        tokenizer_type="StoredTokenizer",
        code=None,
    )
    place, code = folder / _STAND_IN, _CODE.stem
    config = {
        "model_type": pointer["model_type"],
        "architectures": ["StoredModel"],
        "auto_map": {auto: f"{code}.StoredModel"},
    }
    write_json(place / "config.json", config)
    tokenizer = {"auto_map": {"AutoTokenizer": [None, f"{code}.StoredTokenizer"]}}
    write_json(place / "tokenizer_config.json", tokenizer)
    write_atomic(place / _CODE.name, _CODE.read_text("utf-8"))
