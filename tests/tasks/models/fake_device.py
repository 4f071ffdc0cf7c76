"""A kind of device that this machine does not have: it computes on the CPU, and does not mix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

KIND = "maia"
"""A kind that torch has a name for, and that no build of it for CPU or CUDA knows more of."""
_DEVICE = torch.device(KIND, 0)
# What models are made of; on a device, none of it may happen anywhere else.
_ARITHMETIC = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "embedding", "grouped")
# These take tensors of the CPU on any device: copies, and lists of places.
_MIXING = ("copy_", "_to_copy", "index", "index_put_", "index_put", "_index_put_impl_")


class OnDevice(Tensor):
    """A tensor that says it is on the device, around one of the CPU that computes for it."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        found = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=_DEVICE,
        )
        found.inner = inner
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Reached outside of the mode only, to show a tensor in a message.
        return _compute(func, args, kwargs or {})


class FakeDevice(TorchDispatchMode):
    """A context in which the device is there.

    It refuses what a real one refuses – tensors of two devices in one operation – and what a real
    one would do slowly without a word: the arithmetic of a model on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        """How much of a model's arithmetic the device has done."""
        self._moves = _Moves()

    def __enter__(self) -> FakeDevice:
        super().__enter__()
        self._moves.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._moves.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func._schema.name.partition("::")[2]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        ours = [isinstance(tensor, OnDevice) for tensor in tensors]
        apart = [t for t in tensors if not isinstance(t, OnDevice) and t.ndim > 0]
        if any(ours) and apart and name not in _MIXING:
            raise AssertionError(f"{name} takes tensors of {KIND} and of the CPU")
        if name in _ARITHMETIC:
            assert any(ours), f"{name} is computed on the CPU, and there is a {KIND}"
            self.operations += 1
        return _compute(func, args, kwargs)


class _Moves(TorchFunctionMode):
    """What asks torch for the device before a dispatch mode hears of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.to:
            device, dtype, _, _ = torch._C._nn._parse_to(*args[1:], **kwargs)
            if device is not None:
                return torch.ops.aten._to_copy(args[0], dtype=dtype, device=device)
        if func is torch._has_compatible_shallow_copy_type:
            return False
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].inner.tolist()
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            # Some look for the device's library first: indexing, sums over a dimension, `tensor`.
            if KIND not in str(error).lower():
                raise
            return _compute(func, args, kwargs)


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    """Do an operation with what the tensors hold; what comes out is where it belongs."""
    if isinstance(kwargs.get("device"), str):
        kwargs = {**kwargs, "device": torch.device(kwargs["device"])}
    leaves = tree_leaves((args, kwargs))
    taken = {id(leaf.inner): leaf for leaf in leaves if isinstance(leaf, OnDevice)}
    asked = [leaf.type == KIND for leaf in leaves if isinstance(leaf, torch.device)]
    inside = all(asked) if asked else bool(taken)
    given, named = tree_map(_held, (args, kwargs))
    found = func(*given, **named)

    def wrapped(leaf: Any) -> Any:
        if not inside or not isinstance(leaf, Tensor):
            return leaf
        # What is changed in place stays the tensor it was.
        return taken[id(leaf)] if id(leaf) in taken else OnDevice(leaf)

    return tree_map(wrapped, found)


def _held(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.inner if isinstance(leaf, OnDevice) else leaf
