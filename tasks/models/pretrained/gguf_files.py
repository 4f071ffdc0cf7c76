"""GGUF files: known by their first bytes, checked before they are read, and how to read them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError

_MAGIC = b"GGUF"


def is_gguf(path: str | Path) -> bool:
    """Return whether a path is a GGUF file, whatever it is called."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as data:
        return data.read(len(_MAGIC)) == _MAGIC


def source_arguments(path: str | Path, revision: str | None = None) -> dict[str, Any]:
    """Return by which arguments of `from_pretrained` a folder, GGUF file or hub model is named.

    Args:
        path: Folder, GGUF file or hub name.
        revision: Branch, tag or commit of a hub model; None is its main branch.
    """
    if is_gguf(path):
        return {
            "pretrained_model_name_or_path": str(Path(path).parent),
            "gguf_file": Path(path).name,
        }
    return {"pretrained_model_name_or_path": str(path), "revision": revision}


def weight_arguments(path: str | Path, dtype: str) -> dict[str, Any]:
    """Return what `from_pretrained` is told about weights: their type, and to unpack a GGUF's.

    Args:
        path: Folder, GGUF file or hub name.
        dtype: `auto` (as stored; bfloat16 for packed weights), `float32`, `bfloat16`…
    """
    if not is_gguf(path):
        return {"dtype": dtype, "use_safetensors": True}
    import torch
    from transformers import GgufConfig
    from transformers.integrations.gguf.reader import GgufHeader

    # Four or eight bits were kept of each weight: bfloat16 loses nothing to speak of.
    stored = GgufHeader.from_file(str(path)).dtype or torch.bfloat16
    # Packed weights can be neither trained nor saved.
    unpacked = GgufConfig(dequantize=True)
    return {"dtype": stored if dtype == "auto" else dtype, "quantization_config": unpacked}


@contextmanager
def no_bar(path: str | Path) -> Iterator[None]:
    """Hold back the progress bar that reading a GGUF file shows, whatever transformers was told."""
    if not is_gguf(path):
        yield
        return
    from transformers import modeling_gguf_pytorch_utils as reading

    bar, reading.tqdm = reading.tqdm, lambda items, **shown: items
    try:
        yield
    finally:
        reading.tqdm = bar


def check_gguf(path: str | Path) -> None:
    """Refuse a GGUF file that is cut off, or whose architecture transformers does not know.

    Only its header is read.

    Raises:
        ConfigError: Names the file and what to do.
    """
    from transformers.integrations.gguf.reader import GgufHeader
    from transformers.integrations.gguf.utils import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        header = GgufHeader.from_file(str(path))
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise ConfigError(
            f"the GGUF file {str(path)!r} cannot be read ({error}): fetch it again"
        ) from error
    # Two of its names are sections that every file has.
    known = {*GGUF_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES} - {"general", "tokenizer"}
    if header.architecture not in known:
        raise ConfigError(
            f"the GGUF file {str(path)!r} holds a model of the architecture "
            f"{header.architecture!r}, which transformers does not read from GGUF (known: "
            f"{', '.join(sorted(known))}): give the model as a folder of safetensors"
        )
    needed = header.data_start + max((it.offset + it.nbytes for it in header.tensors), default=0)
    if (size := Path(path).stat().st_size) < needed:
        raise ConfigError(
            f"the GGUF file {str(path)!r} breaks off: its header tells of {needed:,} bytes, and "
            f"{size:,} are there; fetch it again"
        )
