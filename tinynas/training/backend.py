"""Which code runs a supernet's networks on a CPU: the fused kernels, or PyTorch layer by layer."""

from collections.abc import Callable

import torch

from ..kernels.program import NotCoveredError
from ..kernels.shared_library import KernelsUnavailableError, is_compiled, load_library
from ..models.fused import FusedNetwork
from ..models.supernet import Supernet
from ..utils.distributed import world_size
from ..utils.errors import InputError
from ..utils.sizes import pair
from .recipe import Recipe

_SMALL = 64  # pixels along a side of an image
_FEW = 16  # images of a batch norm, below which its statistics are noisy (Wu and He, ECCV 2018, figure 1)


def use_backend(supernet: Supernet, recipe: Recipe, *, note: Callable[[str], None]) -> None:
    """Let the recipe's backend run a supernet's networks; if it is "auto", the fused kernels wherever they can.

    In data-parallel training, batch norm sees a process's part of a batch, or all of it if the recipe says so.

    Args:
        supernet: The supernet, on the device on which it is trained.
        recipe: Its backend, precision, batch size and `sync_bn` count.
        note: Receives what runs them, and why, and what batch norm sees: messages of one line.

    Raises:
        InputError: The backend is "fused", and the kernels cannot run the supernet.
    """
    device = next(supernet.parameters()).device
    supernet.synchronise_norms(recipe.sync_bn and world_size() > 1)
    if world_size() > 1:
        note(_norm_batch(recipe))
    reason = _obstacle(supernet, recipe.precision, device, note) if recipe.backend != "eager" else ""
    if reason and recipe.backend == "fused":
        advice = "or choose" if ";" in reason else "choose"
        raise InputError(f"--backend fused: {reason}; {advice} --backend auto or eager")
    supernet.fused = not reason and recipe.backend != "eager"
    use_gpu_layout(supernet)
    if supernet.fused:
        note(f"networks are run by fused CPU kernels ({load_library().instruction_set})")
    elif reason and device.type == "cpu":
        note(f"networks are run by PyTorch: {reason}")
    else:
        note("networks are run by PyTorch")


def use_gpu_layout(supernet: Supernet) -> None:
    """On a GPU, choose the memory format in which PyTorch runs a supernet.

    cuDNN's channels-last convolutions are 1.5 to 4.5 times as fast as PyTorch's others, once it has chosen kernels for
    a shape, which takes up to seconds (H200). That pays off for a single network, and for large images. The subnets of
    a supernet for small images, whose steps take milliseconds, are run without it.
    """
    if next(supernet.parameters()).device.type != "cuda":
        return
    is_single = supernet.space.min() == supernet.space.max()
    if not is_single and max(pair(supernet.space.resolution[-1])) <= _SMALL:
        supernet.use_memory_format(torch.contiguous_format)


def _norm_batch(recipe: Recipe) -> str:
    """Return how many images batch norm sees in a data-parallel training, with a warning if they are few."""
    images, processes = recipe.batch_size, world_size()
    if recipe.sync_bn:
        return f"batch norm sees all {images} images of a batch, over {processes} processes"
    part = images // processes
    text = f"batch norm sees {part} images, the part of a batch of {images} in each of {processes} processes"
    if part >= _FEW:
        return text
    return f"{text}: few, which costs accuracy; raise --batch-size to {_FEW * processes}, or add --sync-bn"


def _obstacle(supernet: Supernet, precision: str, device: torch.device, note: Callable[[str], None]) -> str:
    """Return why the kernels cannot run a supernet; "" if they can."""
    if device.type != "cpu":
        return f"the kernels run on a CPU, not on {device.type}"
    if supernet.synchronised:
        return "the kernels' batch norm sees the images of one process, not of all (--sync-bn)"
    if precision != "fp32":
        return f"the kernels compute in fp32, not in {precision}"
    try:
        if not is_compiled():
            note("compiling the fused CPU kernels, once; this takes some seconds")
        load_library()
        height, width = pair(supernet.net.arch.resolution)
        FusedNetwork(supernet.net).program(height, width)
    except (KernelsUnavailableError, NotCoveredError) as error:
        return str(error)
    return ""
