"""Tensors of a supernet bound into modules without weights: how a subnet runs on views of the supernet's tensors.

Views are written to `module._parameters` and `module._buffers` directly. With torch.func.functional_call, which looks
every tensor up by name in every call, the overhead of a pass is twice as large: 1.8 ms instead of 0.8 ms for an average
subnet of `micro-v1` on one CPU core, whose plain network takes 2.2 ms for one image.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..kernels.program import Part, Parts, part_of


class ParameterBinding(NamedTuple):
    """A parameter or buffer of a subnet's module, and the tensor of the supernet that it is a view of."""

    key: str  # in the module, such as "weight"
    source: dict[str, Any]  # parameters or buffers of the supernet's module
    target: dict[str, Any]  # the same of the subnet's module
    shape: torch.Size  # in the subnet
    number: int  # of the supernet's tensor, among all of them

    def bind(self) -> None:
        """Put a view of the supernet's tensor into the subnet's module."""
        self.target[self.key] = view(self.source[self.key], self.shape)

    def unbind(self) -> None:
        """Leave the subnet's module without the tensor."""
        self.target[self.key] = None

    def copy(self) -> None:
        """Copy the values of the supernet's tensor to the subnet's own."""
        self.target[self.key].copy_(view(self.source[self.key], self.shape))

    def part(self) -> Part:
        """Return where the fused kernels find the view."""
        source = self.source[self.key]
        part = view(source, self.shape)
        return part_of(self.number, part.storage_offset() - source.storage_offset(), part.stride())


class BoundModule(NamedTuple):
    """A module without weights, and the bindings that provide them while it runs."""

    module: nn.Module
    bindings: list[ParameterBinding]
    parts: Parts  # where all of its tensors are, for the fused kernels


def parts_of(bindings: Sequence[ParameterBinding]) -> Parts:
    """Return where the fused kernels find the tensors of a module."""
    return {(id(binding.target), binding.key): binding.part() for binding in bindings}


class Slot(NamedTuple):
    """Where a module keeps a parameter or buffer: its parameters or buffers, and the key among them."""

    tensors: dict[str, Any]
    key: str


def slots_of(module: nn.Module, prefix: str = "") -> dict[str, Slot]:
    """Return the slot of every parameter and buffer by its full name, which begins with the prefix."""
    slots = {}
    for path, child in module.named_modules():
        for tensors in (child._parameters, child._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    slots[f"{prefix}{path}.{key}"] = Slot(tensors, key)
    return slots


def view(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return the part of a supernet's tensor that a smaller layer uses, without a copy.

    The leading slice in the first two dimensions (channels), the centre crop in the others (kernel). It is one strided
    view instead of a slice per dimension, so that its gradient is computed in one pass.
    """
    if tensor.shape == shape:
        return tensor
    strides = tensor.stride()
    start = tensor.storage_offset()
    for full, cropped, stride in zip(tensor.shape[2:], shape[2:], strides[2:], strict=True):
        start += (full - cropped) // 2 * stride
    return tensor.as_strided(shape, strides, start)
