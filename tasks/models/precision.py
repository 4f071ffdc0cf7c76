"""Where and in which precision forward passes compute here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Precision = Literal["auto", "bf16", "fp32"]


def compute_device() -> str:
    """Return the kind of device that models compute on here: cuda where there is a GPU, or cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def uses_bf16(precision: str) -> bool:
    """Return whether a forward pass of this precision computes in bfloat16 here.

    Args:
        precision: `fp32`, `bf16`, or `auto`: bf16 where the GPU has it, or the processor
            (AVX-512-BF16 or AMX), else fp32.
    """
    import torch

    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def keep_as_computed(model: PreTrainedModel, precision: str) -> None:
    """Keep the linear layers that are not trained in bfloat16, where passes compute in it.

    Autocast casts such weights at every pass, so the numbers stay the same to the bit; the memory
    is half. Heads, embeddings and norms, which are not computed in bfloat16, stay as they are. The
    model can be called under autocast only from then on.

    Args:
        model: Changed in place; what DeepSpeed has sharded is left alone.
        precision: `auto`, `bf16` or `fp32`; nothing happens where it is no bfloat16.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    if not uses_bf16(precision):
        return
    heads = (model.get_output_embeddings(), getattr(model, "score", None))
    for part in model.modules():
        if not isinstance(part, (torch.nn.Linear, Conv1D)) or part in heads:
            continue
        if not (part.weight.requires_grad or hasattr(part.weight, "ds_id")):
            part.to(torch.bfloat16)


def arithmetic_of(precision: str, device: str | None = None) -> torch.autocast:
    """Return a context whose forward passes compute in this precision.

    Args:
        precision: `auto`, `bf16` or `fp32`.
        device: Kind of device the model is on; by default `compute_device`.
    """
    import torch

    return torch.autocast(device or compute_device(), torch.bfloat16, enabled=uses_bf16(precision))
