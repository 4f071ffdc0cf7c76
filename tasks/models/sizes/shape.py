"""What of a model's architecture decides its memory and its time, read without any weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tasks.models.groups.flops import matrix_numbers
from tasks.models.loading import quiet_transformers
from tasks.models.pretrained.gguf_files import source_arguments
from tasks.models.source_checks import load_errors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_PROBE_TOKENS = 509
"""A prime: a tensor whose size it divides holds something for every token, others do not."""
_COUNTED = "sparring_counted"


@dataclass(frozen=True)
class ModelShape:
    """The sizes of one architecture; numbers are counted, bytes are of one token."""

    parameters: int
    """Numbers of all weights, tied ones once."""
    matrices: int
    """Numbers of the backbone's matrices, each of which every token is multiplied with."""
    head: int
    """Numbers of the output embedding, which may be the input embedding too."""
    tied: bool
    """Whether it is."""
    layers: int
    """Transformer blocks."""
    width: int
    """Width of the residual stream."""
    kv_width: int
    """Numbers that a token leaves in one layer's keys, and as many in its values."""
    kept_fp32: float
    """Bytes that one layer keeps of a token for its backward pass, computing in fp32."""
    kept_bf16: float
    """The same, computing in bf16 beside weights in fp32."""
    linears: tuple[tuple[str, int, int], ...]
    """Name, inputs and outputs of every linear layer but the head."""

    @property
    def vocabulary(self) -> int:
        """Tokens that the model chooses among; 0 without an output embedding."""
        return self.head // self.width

    @property
    def block(self) -> float:
        """Numbers of one transformer block."""
        return self.matrices / self.layers

    def kept(self, *, bf16: bool) -> float:
        """Return the bytes that one layer keeps of a token for its backward pass."""
        return self.kept_bf16 if bf16 else self.kept_fp32


def read_shape(source: str | Path, revision: str | None = None) -> ModelShape:
    """Return the shape of a model folder or hub model; its weights are not looked at.

    Raises:
        ConfigError: There is no such model, or transformers does not know its architecture.
    """
    from transformers import AutoConfig

    asked = source_arguments(source, revision)
    with load_errors("model", source), quiet_transformers():
        return shape_of(AutoConfig.from_pretrained(**asked, trust_remote_code=False))


def shape_of(config: PretrainedConfig) -> ModelShape:
    """Return the shape of an architecture.

    One layer and two are run on tensors that have a size and no content, so it takes seconds and
    no memory, whatever the model's size, and knows every architecture that transformers has.
    """
    model = _empty(config)
    kept = {}
    for bf16 in (False, True):
        one, two = (_kept(config, layers, bf16=bf16) for layers in (1, 2))
        kept[bf16] = (two - one) / _PROBE_TOKENS
    # T5 is one model with its head; others are a backbone below it.
    backbone = getattr(model, model.base_model_prefix, model)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    head = model.get_output_embeddings()
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        matrices=matrix_numbers(backbone),
        head=head.weight.numel() if head is not None else 0,
        tied=head is not None and head.weight is model.get_input_embeddings().weight,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        kv_width=(getattr(config, "num_key_value_heads", None) or heads) * size,
        kept_fp32=kept[False],
        kept_bf16=kept[True],
        linears=tuple(_linears(model, head)),
    )


def with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """Return a config of the same architecture with so many blocks, of encoder and decoder."""
    changed = deepcopy(config)
    for name in ("num_hidden_layers", "num_decoder_layers", "encoder_layers", "decoder_layers"):
        if getattr(changed, name, None) is not None:
            setattr(changed, name, layers)
    # What kind of attention each layer has, where they differ.
    if kinds := getattr(changed, "layer_types", None):
        changed.layer_types = kinds[:layers]
    return changed


def _linears(model: PreTrainedModel, head: nn.Module | None) -> Iterator[tuple[str, int, int]]:
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            yield name, module.in_features, module.out_features
        elif isinstance(module, Conv1D):
            yield name, *module.weight.shape


def _empty(config: PretrainedConfig) -> PreTrainedModel:
    """Return a model without content on the device `meta`."""
    with torch.device("meta"):
        return _built(deepcopy(config))


def _built(config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(config)
    return model.train()


def _kept(config: PretrainedConfig, layers: int, *, bf16: bool) -> int:
    """Return the bytes that a backbone of so many layers keeps of the probe's tokens."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    _register()
    with FakeTensorMode():
        model = _built(with_layers(config, layers))
        if not config.is_encoder_decoder:
            model.config._attn_implementation = _COUNTED
        ids = torch.zeros(1, _PROBE_TOKENS, dtype=torch.long)
        given = {"decoder_input_ids": ids} if config.is_encoder_decoder else {}
        backbone = getattr(model, model.base_model_prefix, model)
        with _saved() as saved, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            backbone(ids, use_cache=False, **given)
        return sum(saved.values())


def _register() -> None:
    """Make an attention known that keeps what ours does: nothing of all pairs of tokens."""
    from transformers import AttentionInterface, AttentionMaskInterface

    # Where tensors have no content, transformers' own would build and keep a mask.
    AttentionMaskInterface.register(_COUNTED, lambda **_: None)
    AttentionInterface.register(_COUNTED, _causal)


def _causal(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, None]:
    grouped = query.shape[1] != key.shape[1]
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=grouped
    )
    return output.transpose(1, 2).contiguous(), None


@contextmanager
def _saved() -> Iterator[dict[int, int]]:
    """Collect the bytes of the storages that are kept per token, by the storage's identity."""
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.nbytes() // tensor.element_size() % _PROBE_TOKENS == 0:
            found[storage._cdata] = storage.nbytes()
            # An identity may be given again once its storage is gone.
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found
