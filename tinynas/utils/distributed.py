"""The device of this process; and data-parallel training under torchrun.

Each process takes its shard of a batch; gradients are averaged once a step.

    torchrun --nproc-per-node=2 -m tinynas.cli search --flops 50M

Every process draws the same subnets and holds the same weights. Only the one of rank 0 writes files and reports.
Without torchrun there is one process, of rank 0, and nothing is sent.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .device_errors import device_errors_in_one_line
from .errors import InputError, TinyNASError
from .torchrun import is_under_torchrun

P = ParamSpec("P")
T = TypeVar("T")

_chosen = "auto"  # device of this process


@contextmanager
def process_group() -> Iterator[None]:
    """Let the body be one of the processes that torchrun started, if it did; outside of them, do nothing.

    At the end the process leaves the group, also after an error, but for one on GPUs of their own: there, NCCL could
    wait for the processes that have not failed. The end of this process tells them.

    Raises:
        DeviceError: The other processes cannot be reached.
    """
    if not is_under_torchrun() or dist.is_initialized():
        yield
        return
    with device_errors_in_one_line():
        _join()
        try:
            yield
        except BaseException:
            if "nccl" not in dist.get_backend_config():
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()


def _join() -> None:
    """Join the group of processes: by NCCL on GPUs of their own, by gloo on CPUs or if they share GPUs.

    Objects are always sent by gloo, from a CPU.
    """
    if device().type != "cuda":
        dist.init_process_group("gloo")
    else:
        torch.cuda.set_device(device())
        local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        on_gpus = "nccl" if local_processes <= torch.cuda.device_count() else "gloo"
        dist.init_process_group(f"cpu:gloo,cuda:{on_gpus}")


def rank() -> int:
    """Return this process's rank, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def choose_device(name: str) -> None:
    """Choose the device on which this process computes from now on.

    Args:
        name: "auto", a GPU of CUDA if there is one, else the CPU; "cpu"; "cuda", under torchrun a GPU for each process;
            "cuda:N"; or "mps".

    Raises:
        InputError: There is no such device.
    """
    global _chosen
    reason = _missing(name)
    if reason:
        raise InputError(f"--device {name}: {reason}; choose another, or leave it out")
    _chosen = name
    if device().type == "cuda":
        torch.cuda.set_device(device())


def device() -> torch.device:
    """Return the device of this process: the chosen one, by default a GPU of CUDA if there is one, or the CPU.

    Under torchrun every process has a GPU of its own, or shares one if there are fewer.
    """
    if _chosen not in ("auto", "cuda"):
        return torch.device(_chosen)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def _missing(name: str) -> str:
    """Return why there is no device of this name; "" if there is."""
    kind, _, index = name.partition(":")
    if name in ("auto", "cpu"):
        return ""
    if name == "mps" and is_under_torchrun():
        return "only CPUs and GPUs of CUDA train with several processes"
    if name == "mps":
        return "" if torch.backends.mps.is_available() else "PyTorch finds no GPU of Apple here"
    if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
        return "there are auto, cpu, cuda, cuda:N and mps"
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU of CUDA here"
    if index and is_under_torchrun():
        return "torchrun's processes have a GPU each, which is --device cuda"
    count = torch.cuda.device_count()
    if index and int(index) >= count:
        return f"there are {count} GPUs, the last one is cuda:{count - 1}"
    return ""


def shard(batch_size: int) -> slice:
    """Return which images of a batch are this process's; every image is exactly one process's.

    Raises:
        InputError: The batch cannot be divided equally between the processes.
    """
    if batch_size % world_size():
        raise InputError(
            f"the batch size must be a multiple of the number of processes: {batch_size} images, {world_size()} "
            "processes; change --batch-size"
        )
    return slice(rank(), None, world_size())


def broadcast_from_rank0(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the process of rank 0 and return its result, the name of a new folder say, in all of them.

    An error that it raises for the user is raised in all of them. Tensors of the result must be on the CPU.
    """
    call = partial(function, *args, **kwargs)
    if not dist.is_initialized():
        return call()
    outcome: list[Any] = [None, None]  # result and error
    if rank() == 0:
        try:
            outcome[0] = call()
        except (TinyNASError, OSError) as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result


def gather(value: T) -> list[T]:
    """Return a value of every process, in the order of their ranks, in all of them; values are pickled."""
    values = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def broadcast_weights(model: nn.Module) -> None:
    """Give the model of every process the weights and statistics of that of rank 0."""
    if dist.is_initialized():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def gather_from_processes(value: Tensor) -> Tensor:
    """Return a tensor of every process, (processes, ...), in the order of their ranks; no gradient flows through it.

    Every process adds its own to zeros: of tensors on a GPU, gloo knows sums but no gathering.
    """
    values = torch.stack([torch.zeros_like(value)] * world_size())
    values[rank()] = value.detach()
    return sum_over_processes(values)


def sum_over_processes(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes; no gradient flows through it."""
    if not dist.is_initialized():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def average_gradients(model: nn.Module, loss: Tensor) -> Tensor:
    """Replace the model's gradients by their means over the processes; return the mean of the losses, a scalar.

    Gradients and loss are sent together, in one reduction.
    """
    if not dist.is_initialized():
        return loss
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    parts = [loss.reshape(1)]
    for gradient in gradients:
        parts.append(gradient.flatten())
    flat = torch.cat(parts)
    dist.all_reduce(flat)
    flat /= world_size()
    means = torch.split(flat, [part.numel() for part in parts])
    for gradient, mean in zip(gradients, means[1:], strict=True):
        gradient.copy_(mean.view_as(gradient))
    return flat[0]
