"""What decides how much memory and how many processes a training takes; every training has it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.models.precision import Precision
from tasks.settings.base import GPUS, FrozenConfig


class LoraConfig(FrozenConfig):
    """Low-rank adapters (arXiv 2106.09685): W + (alpha / rank) B A, with W frozen."""

    rank: int = Field(default=16, ge=1)
    """Rows of A and columns of B. Default 16: peft's examples; 2106.09685 uses 4 to 64."""

    alpha: int = Field(default=32, ge=1)
    """The adapter is scaled by alpha / rank. Default: twice the default rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the adapters' input while training. Default 0, as for the whole model."""

    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Which linear layers get an adapter: the ends of their names, or all but the head."""


class TrainingScale(FrozenConfig):
    """How models are held while they are trained: in what precision, which weights, on how many."""

    precision: Precision = "auto"
    """Arithmetic of the forward passes; weights and optimiser stay fp32. auto: bf16 where the
    processor has it (CUDA, or AVX-512-BF16 or AMX on a CPU), else fp32."""

    gradient_checkpointing: bool = False
    """Whether layers are computed again in the backward pass instead of being kept: about a third
    more time, memory of one layer. The same gradient."""

    lora: LoraConfig | None = None
    """Train low-rank adapters instead of all weights. Default: all weights."""

    trainable_layers: int | None = Field(default=None, ge=1)
    """Train the last so many layers, the norm behind them and the head; the rest is frozen, and
    needs no gradient, no optimiser and no backward pass. A head that is tied to the input
    embeddings is frozen with them. Default: all weights."""

    processes: Annotated[int, GPUS] = Field(default=1, ge=1)
    """Processes that train together on each machine, one per GPU."""

    nodes: int = Field(default=1, ge=1)
    """Machines that train together, with SPARRING_HOME on a disk they share. Above 1, set
    SPARRING_RENDEZVOUS=HOST:PORT to an address of the stage's machine; its log has the command to
    start on the others."""

    deepspeed: str | None = None
    """zero1, zero2, zero3, zero3-offload (infra/deepspeed/), or the path of a JSON file of
    DeepSpeed's. Default: none, one process trains inside the stage."""

    @model_validator(mode="after")
    def _one_choice_of_weights(self) -> Self:
        if self.lora is not None and self.trainable_layers is not None:
            raise ValueError("lora and trainable_layers both say what is trained: give one of them")
        return self

    @property
    def world_size(self) -> int:
        """How many processes train together, on all machines."""
        return self.processes * self.nodes
