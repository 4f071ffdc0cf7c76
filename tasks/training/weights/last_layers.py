"""Training the last layers alone: what lies below them is frozen and needs no backward pass."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from tasks.settings.errors import ConfigError


def freeze_below(model: PreTrainedModel, layers: int) -> None:
    """Freeze a model but for its last layers, the norm behind them and its head, in place.

    No input of the first trained layer needs a gradient then, so that autograd builds no graph
    below it: activations there are freed as soon as the next layer has read them, and the backward
    pass ends at it. Of a model with an encoder these are layers of the decoder.

    Args:
        model: A policy, a reward model or a classifier.
        layers: How many layers are trained, at least 1.

    Raises:
        ConfigError: The model has fewer.
    """
    holder, stack = _stack(model.get_decoder())
    if layers > len(stack):
        raise ConfigError(
            f"training.trainable_layers is {layers} and {type(model).__name__} has {len(stack)} "
            "layers: lower it, or leave it out to train all weights"
        )
    # Norms of embeddings come before the layers.
    norms = [
        part
        for name, part in holder.named_children()
        if ("norm" in name or name.startswith("ln")) and "emb" not in name
    ]
    model.requires_grad_(False)
    for part in [*stack[-layers:], *norms, *([] if head_is_tied(model) else _heads(model))]:
        part.requires_grad_(True)


def head_is_tied(model: PreTrainedModel) -> bool:
    """Return whether a model's head has the weights of its input embeddings."""
    table = model.get_input_embeddings().weight
    return any(getattr(head, "weight", None) is table for head in _heads(model))


def _heads(model: PreTrainedModel) -> list[nn.Module]:
    """Return the head of a reward model or classifier, or a policy's output embeddings."""
    parts = model.named_children()
    found = [part for name, part in parts if name == "score" or "classifier" in name]
    output = model.get_output_embeddings()
    return found or ([] if output is None else [output])


def _stack(decoder: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    """Return the layers of a decoder, or of a lone encoder, and what holds them."""
    lists = (
        (part, child)
        for part in decoder.modules()
        for child in part.children()
        if isinstance(child, nn.ModuleList)
    )
    # Layers may hold lists of their own.
    return next(lists, (decoder, nn.ModuleList()))
