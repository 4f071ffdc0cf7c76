"""Named tensors in safetensors files of about a gigabyte: no pickle, little held at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tasks.storage.files import write_atomic

_FILE_BYTES = 1 << 30


def write_tensors(folder: Path, stem: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """Write tensors into ``STEM-00000.safetensors`` and so on; return the files' names."""
    names: list[str] = []
    for chunk in _chunks(tensors):
        names.append(f"{stem}-{len(names):05d}.safetensors")
        write_atomic(folder / names[-1], save(chunk))
    return names


def read_tensors(folder: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Read what ``write_tensors`` wrote, onto the CPU.

    Raises:
        FileNotFoundError: Names the file that is missing.
    """
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(name)
        tensors |= load_file(folder / name)
    return tensors


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what a training changes: trainable parameters and persistent buffers, each once.

    Tied weights have one name. What is frozen is read from where it came from.
    """
    kept = model.state_dict(keep_vars=True)
    tensors = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name: b.detach() for name, b in model.named_buffers() if name in kept}
    return tensors | buffers


@torch.no_grad()
def load_trained_tensors(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Put what ``trained_tensors`` returned back into a model of the same kind."""
    tensors = trained_tensors(model)
    assert tensors.keys() == saved.keys(), "the config digest covers the model's parameters"
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def _chunks(tensors: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    chunk: dict[str, Tensor] = {}
    held = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if chunk and held + size > _FILE_BYTES:
            yield chunk
            chunk, held = {}, 0
        chunk[name] = tensor.contiguous()
        held += size
    if chunk:
        yield chunk
