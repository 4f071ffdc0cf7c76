"""Whether a model computes the same when the responses of a group share their prompt.

An algorithm that is right agrees with the plain one in float32 to rounding. A narrow type is then
allowed what it costs the plain one itself, which is found out and not listed: in bfloat16 that is
3 % on text of a deep pretrained model, and half of everything on tokens that were hardly trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tasks.models.tokens.encoding import EncodedGroup

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Relative to the plain path. Parts of a float64 model compute in float32 (norms, Gemma's softmax).
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
_NARROW = (torch.bfloat16, torch.float16)
# Two right computations round apart: 1.1 to 1.2 times what one of them is off (SmolLM2, bfloat16).
_ROUNDINGS = 3.0
# Where there is no room for float32: what bfloat16 costs on ordinary text, three times.
_UNSEEN = 1e-1
_PASSAGE = (
    "When the rain had stopped, the two sisters walked down to the river to see how high the water "
    "was. An old man sat on the bridge and told them that he had seen it higher only once, when he "
    "was a child; then he asked whether they knew what time the bus to the city would leave."
)
_DROPOUTS = ("dropout", "pdrop", "dropout_prob", "dropout_rate", "layerdrop")

Numbers = tuple[Tensor, ...]
"""What a model computes for the probe, by one way or the other."""


def ordinary_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return a passage of plain English as a tokenizer's ids, no special token among them.

    The first ids of a vocabulary would be none to judge a model by: they are often reserved, and
    what a model computes for tokens that it never met says nothing of what it does with text.
    """
    special = set(tokenizer.all_special_ids)
    ids = tokenizer(_PASSAGE, add_special_tokens=False)["input_ids"]
    return [i for i in ids if i not in special]


def probe_groups(tokens: Sequence[int]) -> list[EncodedGroup]:
    """Return three ragged groups of a text's tokens, in its order and from its start again."""
    text = cycle(tokens)

    def ids(count: int) -> list[int]:
        return list(islice(text, count))

    shapes = [(5, (3, 6)), (1, (2,)), (9, (1, 4, 7))]
    return [
        EncodedGroup(ids(prompt), [ids(n) for n in sizes], False, [False] * len(sizes))
        for prompt, sizes in shapes
    ]


def difference(found: Tensor, expected: Tensor) -> float:
    """Return |found − expected| / |expected|, L2; infinity where one is not finite."""
    found, expected = found.detach().double(), expected.detach().double()
    size = expected.norm().clamp(min=torch.finfo(expected.dtype).tiny)
    return float(((found - expected).norm() / size).nan_to_num(torch.inf, torch.inf))


def disagreement(
    model: PreTrainedModel, plain: Callable[[], Numbers], shared: Callable[[], Numbers]
) -> float | None:
    """Return by how much of its size the shared way is off the plain one; None if by rounding.

    Args:
        model: Its weights are as they were afterwards.
        plain: Computes the probe by the plain way, with the weights of that moment.
        shared: The same by the shared way.
    """
    own = model.dtype
    if own not in _NARROW:
        # What `keep_as_computed` holds in less can be called under autocast alone.
        with _in_float32(model):
            return _beyond(_TOLERANCES[own], shared(), plain())
    if not _has_room(model):
        return _beyond(_UNSEEN, shared(), plain())
    with _in_float32(model):
        exact = plain()
        if off := _beyond(_TOLERANCES[torch.float32], shared(), exact):
            return off
    rounded = plain()
    return _beyond(_ROUNDINGS * _apart(rounded, exact), shared(), rounded)


def _apart(found: Numbers, expected: Numbers) -> float:
    return max(map(difference, found, expected))


def _beyond(limit: float, found: Numbers, expected: Numbers) -> float | None:
    off = _apart(found, expected)
    return None if off <= limit else off


@contextmanager
def _in_float32(model: nn.Module) -> Iterator[None]:
    """Hold narrow weights in float32 inside the block, which loses nothing on the way back."""
    narrow = [
        (tensor, tensor.dtype)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.dtype in _NARROW
    ]
    # A tensor that is made in inference mode could never be trained.
    with torch.inference_mode(False):
        for tensor, _ in narrow:
            tensor.data = tensor.data.float()
    try:
        yield
    finally:
        with torch.inference_mode(False):
            for tensor, dtype in narrow:
                tensor.data = tensor.data.to(dtype)


def _has_room(model: PreTrainedModel) -> bool:
    """Tell whether the memory of a model's device holds its narrow weights twice more."""
    import psutil

    needed = sum(part.numel() * part.element_size() for part in model.parameters())
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    return free > 2 * needed


def dropouts(config: PretrainedConfig) -> list[str]:
    """Return the names of what a configuration drops at random in train mode."""
    return [
        name
        for name, value in vars(config).items()
        if isinstance(value, float) and value > 0 and name.endswith(_DROPOUTS)
    ]


def longest_sequence(config: PretrainedConfig, *, windows: bool) -> float:
    """Return the longest sequence, in tokens, that every layer sees as a whole.

    Sliding windows count unless they are taken care of.
    """
    names = ["attention_chunk_size"]
    if windows and getattr(config, "use_sliding_window", True):
        names.append("sliding_window")
    return min(getattr(config, name, None) or float("inf") for name in names)


def logit_scale(config: PretrainedConfig) -> float:
    """Return what a model multiplies its logits with: Cohere's scale, one over Granite's."""
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    return (scale if isinstance(scale, float | int) else 1.0) / (divisor or 1.0)
