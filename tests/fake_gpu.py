"""A GPU that computes nothing: torch's fake tensors, which know their device and refuse to be mixed with another's.

There is no backward pass without a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

FAKE_GPU = torch.device("cuda", 0)


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Let the body create and compute with fake tensors, on the CPU and on a fake GPU; none of them has values."""
    with FakeTensorMode():
        yield


def to_fake_gpu(module: nn.Module) -> None:
    """Replace all tensors of a module by fake ones on the fake GPU; within `fake_gpu`."""
    for child in module.modules():
        for key, parameter in child._parameters.items():
            if parameter is not None:
                child._parameters[key] = nn.Parameter(_fake(parameter), requires_grad=parameter.requires_grad)
        for key, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[key] = _fake(buffer)


def without_value_checks(monkeypatch) -> None:
    """Let `observe` take fake tensors, which have no values to check."""
    monkeypatch.setattr("tinynas.early_exit.network.check_finite", lambda values, what, start: None)
    monkeypatch.setattr("tinynas.early_exit.network.class_indices", lambda labels, **settings: labels.cpu())


def _fake(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=FAKE_GPU)
