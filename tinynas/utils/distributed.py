"""Data-parallel training under torchrun: each process takes its share of a batch; gradients are averaged once a step.

    torchrun --nproc-per-node=2 -m tinynas.cli search --flops 50M

Every process draws the same subnets and holds the same weights. Only the first writes files and reports. Without
torchrun there is one process, and nothing here does anything.
"""

import atexit
import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import require

T = TypeVar("T")


def start() -> None:
    """Join the processes that torchrun started: NCCL on GPUs, gloo on CPUs."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(dist.destroy_process_group)


def rank() -> int:
    """This process's number; 0 is the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def share(batch: Tensor) -> Tensor:
    """This process's part of a batch's indices (N,). Raises InputError unless all parts are equal."""
    require(
        len(batch) % world() == 0, "the batch size is a multiple of the processes", batch=len(batch), processes=world()
    )
    return batch[rank() :: world()]


def decided_by_first(make: Callable[[], T]) -> T:
    """What the first process makes, for all: a new folder's name, say."""
    values = [make() if rank() == 0 else None]
    if dist.is_initialized():
        dist.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]


def average(model: nn.Module, loss: Tensor) -> Tensor:
    """Replace the model's gradients by their means over the processes, in one reduction; returns the mean loss."""
    if not dist.is_initialized():
        return loss
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([loss.reshape(1), *(gradient.flatten() for gradient in gradients)])
    dist.all_reduce(flat)
    flat /= world()
    parts = torch.split(flat[1:], [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return flat[0]
