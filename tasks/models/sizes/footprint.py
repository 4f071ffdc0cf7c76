"""Bytes of memory that one process holds while it trains, samples or scores, from shapes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tasks.models.sampling.config import SamplingConfig
from tasks.models.sizes.shape import ModelShape

FP32, BF16 = 4, 2
"""Bytes of a number."""
_ADAMW = 2 * FP32
"""Two moments of every trained number."""


@dataclass(frozen=True)
class Footprint:
    """What is in memory at once, in bytes; a sum says what several models take together."""

    weights: float = 0.0
    """Of the models themselves."""
    gradients: float = 0.0
    """Of what is trained."""
    optimiser: float = 0.0
    """AdamW's moments, and the master copy that DeepSpeed keeps."""
    casts: float = 0.0
    """Copies of weights in bf16 that autocast keeps for a step."""
    activations: float = 0.0
    """What a pass over one micro-batch keeps for its backward pass, or works with."""
    cache: float = 0.0
    """Keys and values of the tokens that are drawn."""

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def states(self) -> float:
        """What is there for the whole of a training: weights, gradients and optimiser."""
        return self.weights + self.gradients + self.optimiser

    def __add__(self, other: Footprint) -> Footprint:
        """Return what both take together."""
        return Footprint(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )

    def parts(self) -> dict[str, float]:
        """Return what is not zero, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: size for name, size in found.items() if size}


@dataclass(frozen=True)
class Part:
    """What of a model is trained, where that is not all of it."""

    trained: float
    """How many numbers."""
    frozen_matrices: float
    """How many numbers of its linear layers are not, and are kept in bf16 where it computes so."""
    layers: int
    """How many layers the backward pass goes through."""


def trained(
    shape: ModelShape,
    *,
    tokens: int,
    bf16: bool,
    checkpointing: bool = False,
    part: Part | None = None,
    beside: float = 0.0,
    processes: int = 1,
    zero: int = 0,
    offload: bool = False,
) -> Footprint:
    """Return what a model takes in one process of its training.

    Args:
        shape: Of the model.
        tokens: Of one micro-batch.
        bf16: Whether forward passes compute in bf16; weights are fp32 either way.
        checkpointing: Whether layers are computed again in the backward pass.
        part: What of it is trained; None is all.
        beside: Numbers that are trained beside it, such as the heads of a TQR.
        processes: How many share what `zero` shares.
        zero: DeepSpeed's stage; 0 is without it, each process holds everything.
        offload: Whether what is shared lies in the machine's memory instead of the GPU's.
    """
    part = part or Part(shape.parameters, 0, shape.layers)
    learnt = part.trained + beside
    # `keep_as_computed` leaves alone what ZeRO-3 shares.
    halved = part.frozen_matrices if bf16 and zero < 3 else 0

    def share(size: float, from_stage: int) -> float:
        if zero < from_stage:
            return size
        return 0.0 if offload else size / processes

    optimiser = learnt * (_ADAMW + (FP32 if zero else 0))
    return Footprint(
        weights=share((shape.parameters + beside) * FP32, 3) - halved * (FP32 - BF16),
        gradients=share(learnt * FP32, 2),
        optimiser=share(optimiser, 1),
        # Under ZeRO-3 a layer's weights are gathered, cast and let go.
        casts=_casts(shape) - BF16 * halved if bf16 and zero < 3 else 0.0,
        activations=_kept(shape, part.layers, tokens, bf16=bf16, checkpointing=checkpointing),
    )


def frozen(shape: ModelShape, *, tokens: int, bf16: bool) -> Footprint:
    """Return what a model takes that only computes: a reference, or what scores.

    Args:
        shape: Of the model.
        tokens: Of one forward pass.
        bf16: Whether it computes in bf16, and `keep_as_computed` holds its linear layers so.
    """
    kept = shape.matrices if bf16 else 0
    return Footprint(
        weights=shape.parameters * FP32 - kept * (FP32 - BF16),
        casts=BF16 * shape.head if bf16 else 0.0,
        activations=tokens * shape.kept(bf16=bf16),
    )


def sampled(
    shape: ModelShape,
    draws: SamplingConfig,
    prompt_tokens: int,
    *,
    bf16: bool,
    prompts: int | None = None,
    weights: bool = True,
) -> Footprint:
    """Return what a policy takes that is sampled in this process.

    Args:
        shape: Of the policy.
        draws: How many responses of which length at once.
        prompt_tokens: The longest prompt.
        bf16: Whether weights, keys and values are bf16.
        prompts: How many there are at most; None is a shard's.
        weights: Whether the weights count; in a training they are there already.
    """
    itemsize = BF16 if bf16 else FP32
    count = draws.shard_size if prompts is None else prompts
    each = prompt_tokens + draws.samples * draws.max_new_tokens
    # A batch holds so many tokens at most, but never less than one prompt with its samples.
    tokens = max(min(count * each, draws.batch_tokens), each)
    return Footprint(
        weights=shape.parameters * itemsize if weights else 0.0,
        cache=2 * shape.layers * shape.kv_width * itemsize * tokens,
    )


def _casts(shape: ModelShape) -> float:
    return BF16 * (shape.matrices + shape.head)


def _kept(shape: ModelShape, layers: int, tokens: int, *, bf16: bool, checkpointing: bool) -> float:
    layer = shape.kept(bf16=bf16)
    if not checkpointing:
        return tokens * layers * layer
    # Of every layer its input, which autocast leaves in fp32, and one layer whole.
    return tokens * (layers * shape.width * FP32 + layer)
