"""What a model folder must not contain, and load failures as one clear sentence.

A folder from elsewhere is untrusted: pickled weights run code when they are read, and a config may
name code to import. Both are refused before transformers sees them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.models.architecture import NO_ENCODER
from tasks.models.pretrained.gguf_files import check_gguf, is_gguf
from tasks.settings.errors import ConfigError, one_line

if TYPE_CHECKING:
    from tasks.models.tokens.encoding import Limits

_CODE_KEYS = frozenset(
    {"auto_map", "trust_remote_code", "_attn_implementation_internal", "custom_pipelines"}
)
_CONFIGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "adapter_config.json",
    "adapter/adapter_config.json",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")


@contextmanager
def load_errors(kind: str, path: str | Path) -> Iterator[None]:
    """Turn any failure of the block into a ConfigError that names the path and what to do."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # loaders raise many types; all mean "cannot be loaded"
        raise ConfigError(
            f"the {kind} {str(path)!r} cannot be loaded: {one_line(error)}. "
            "Give a folder written by save_pretrained, a GGUF file, or a hub name that this "
            "machine can reach"
        ) from error


def check_model_source(path: str | Path, revision: str | None = None) -> None:
    """Refuse a model that is missing, asks for code, or whose weights are not safetensors.

    Args:
        path: A folder, a GGUF file, or a hub name (of which only the config is looked at here).
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        ConfigError: Names the path, the file and what to do.
    """
    folder = Path(path)
    if is_gguf(path):
        check_gguf(path)
        return
    if not folder.is_dir():
        _check_hub_config(path, revision)
        return
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{str(path)!r} is not a model folder: it has no config.json")
    _check_configs(folder)
    _check_weights(folder)


def check_local_model(path: str, limits: Iterable[Limits], *, decoder: bool = False) -> None:
    """Refuse a GGUF file or folder that is no model, or whose config says that it does not serve.

    Nothing is loaded; another file, or a hub name, is passed over. `limits` must fit its context,
    and as a `decoder` it may have no encoder.

    Raises:
        ConfigError: Names the path and what to do.
    """
    folder = Path(path)
    if folder.is_file() and (is_gguf(folder) or folder.suffix == ".gguf"):
        check_model_source(folder)
    if not folder.is_dir():
        return
    check_model_source(folder)
    said = json.loads((folder / "config.json").read_bytes())
    for pair in limits:
        context = said.get("max_position_embeddings", said.get("n_positions"))
        require_context(context, pair, f"the model {path!r}")
    if decoder:
        require_decoder(said.get("is_encoder_decoder", False), f"the model {path!r}")


def require_decoder(has_encoder: bool, name: str) -> None:
    """Refuse a model with an encoder where a decoder is wanted.

    Raises:
        ConfigError: Says what to take instead.
    """
    if has_encoder:
        raise ConfigError(f"{name} {NO_ENCODER}")


def require_context(context: int | None, limits: Limits, name: str) -> None:
    """Refuse a longest sequence that does not fit a context, in tokens; None is one without end.

    Raises:
        ConfigError: With the numbers and the keys to change.
    """
    if context is not None and limits.longest > context:
        raise ConfigError(
            f"{name} has a context of {context} tokens, but max_prompt_tokens "
            f"{limits.max_prompt_tokens} + max_response_tokens {limits.max_response_tokens} = "
            f"{limits.longest}: lower them or take a model with a longer context"
        )


def check_tokenizer_source(path: str | Path) -> None:
    """Refuse a tokenizer folder that is missing or asks for code.

    Raises:
        ConfigError: Names the path and what to do.
    """
    folder = Path(path)
    if folder.is_dir():
        _check_configs(folder)
    elif is_gguf(path):
        check_gguf(path)
    elif folder.exists() or looks_local(path):
        raise ConfigError(f"the tokenizer folder {str(path)!r} does not exist")


def looks_local(path: str | Path) -> bool:
    """Return whether a name can only be a path, and no name on the hub."""
    # A hub name is `name` or `owner/name`; anything else can only be a path.
    return (
        isinstance(path, Path)
        or str(path).startswith((".", "/", "~"))
        or (str(path).count("/") > 1)
    )


def _check_hub_config(path: str | Path, revision: str | None) -> None:
    if Path(path).exists() or looks_local(path):
        raise ConfigError(
            f"the model folder {str(path)!r} does not exist, or is no folder and no GGUF file"
        )
    from transformers import PretrainedConfig

    with load_errors("model", path):
        config, _ = PretrainedConfig.get_config_dict(str(path), revision=revision)
    _refuse_code(config, f"config.json of {str(path)!r}")


def _check_configs(folder: Path) -> None:
    for name in _CONFIGS:
        file = folder / name
        if file.is_file():
            try:
                tree = json.loads(file.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{str(file)!r} is not valid JSON: {error}") from error
            _refuse_code(tree, repr(str(file)))


def _refuse_code(tree: Any, where: str) -> None:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            # An attention "implementation" with a slash is a kernel that would be downloaded.
            found = [
                key
                for key, value in node.items()
                if key in _CODE_KEYS or ("implementation" in key and "/" in str(value))
            ]
            if found:
                raise ConfigError(
                    f"{where} asks for code of its own ({', '.join(sorted(found))}), which is "
                    "never run: take a model whose architecture transformers has itself, often a "
                    "conversion under another name (of ChatGLM, GLM-4 in its form `-hf`), or "
                    "remove the key where its own classes are not needed"
                )
            pending.extend(node.values())


def _check_weights(folder: Path) -> None:
    places = (folder, folder / "adapter")
    files = (file for place in places for pattern in _PICKLES for file in place.glob(pattern))
    pickles = sorted(file.relative_to(folder).as_posix() for file in files)
    advice = "load it once where it is trusted and save_pretrained it as safetensors"
    if any(name.startswith("adapter") for name in pickles):
        raise ConfigError(f"{str(folder)!r} holds a pickled adapter ({pickles[0]}): {advice}")
    if not any(folder.glob("*.safetensors")):
        found = f"only pickled weights ({pickles[0]})" if pickles else "no weights"
        raise ConfigError(f"{str(folder)!r} holds {found}, and only safetensors is read: {advice}")
    for index in folder.glob("*.safetensors.index.json"):
        names = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
        if wrong := sorted({name for name in names if not name.endswith(".safetensors")}):
            raise ConfigError(f"{str(index)!r} names pickled weights ({wrong[0]}): {advice}")
    named = json.loads((folder / "config.json").read_text("utf-8")).get("transformers_weights")
    if named and not str(named).endswith((".safetensors", ".safetensors.index.json")):
        raise ConfigError(f"config.json of {str(folder)!r} names {named!r} as weights: {advice}")
