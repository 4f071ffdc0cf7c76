"""What a language model's own output head says of given tokens, read in chunks.

With all that models do besides to what they put into their head and to what comes out: scales,
biases of their own, softcaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tasks.models.chunked_logps import Reading, token_logps, token_readings
from tasks.models.prompt_sharing_check import logit_scale

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def head_logps(
    model: PreTrainedModel, states: Tensor, targets: Tensor, temperature: float
) -> Tensor:
    """Log-probability of each target under a language model's own output head.

    Args:
        model: Whose head is a `Linear`.
        states: Its last hidden states at the places that predict the targets. Shape (S, H).
        targets: Token ids. Shape (S,), int64.
        temperature: Logits are divided by it. Positive.

    Returns:
        Nats, at least float32. Shape (S,).

    Raises:
        NotImplementedError: The head is something else.
    """
    head, bias, softcap = _parts(model)
    temperature = temperature / logit_scale(model.config)

    def scored(states: Tensor) -> Tensor:
        return token_logps(states, head.weight, bias, targets, temperature, softcap=softcap)

    return called_as(head, scored, _scaled(model, states))


def head_readings(
    model: PreTrainedModel, states: Tensor, targets: Tensor, reading: Reading
) -> Tensor:
    """Read numbers from the logits that a language model makes at each place.

    Args:
        model: Whose head is a `Linear`.
        states: Its last hidden states at the places that predict the targets. Shape (S, H).
        targets: Token ids. Shape (S,), int64.
        reading: What is read from a place's logits, as they are when the model gives them out.

    Returns:
        C numbers for each place, at least float32. Shape (S, C).

    Raises:
        NotImplementedError: The head is something else.
    """
    head, bias, softcap = _parts(model)
    scale = logit_scale(model.config)

    def finished(logits: Tensor, targets: Tensor) -> Tensor:
        if softcap is not None:
            logits = softcap * (logits / softcap).tanh()
        return reading(logits if scale == 1 else logits * scale, targets)

    def read(states: Tensor) -> Tensor:
        return token_readings(states, head.weight, bias, targets, finished)

    return called_as(head, read, _scaled(model, states))


def called_as(head: nn.Linear, function: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """Apply a function of a head's weights as the head itself is called.

    So whoever gathers or shards its weights by hooks is asked.
    """
    head.forward = function
    try:
        result: Tensor = head(states)
        return result
    finally:
        del head.forward


def _parts(model: PreTrainedModel) -> tuple[nn.Linear, Tensor | None, float | None]:
    """The head, its bias, and the softcap of its logits."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise NotImplementedError(f"the output embedding is a {type(head).__name__}")
    bias: Tensor | None = head.bias
    extra = getattr(model, "final_logits_bias", None)  # of BART, Marian and their like
    if extra is not None:
        bias = extra[0] if bias is None else bias + extra[0]
    return head, bias, getattr(model.config, "final_logit_softcapping", None)


def _scaled(model: PreTrainedModel, states: Tensor) -> Tensor:
    """The states as the head reads them: T5 with tied embeddings makes them smaller."""
    if getattr(model.config, "scale_decoder_outputs", False):
        return states * model.config.d_model**-0.5
    return states
