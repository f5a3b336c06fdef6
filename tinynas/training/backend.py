"""Which code runs a supernet's networks on a CPU: the fused kernels, or PyTorch layer by layer."""

from collections.abc import Callable

import torch

from ..kernels.program import NotCoveredError
from ..kernels.shared_library import KernelsUnavailableError, is_compiled, load_library
from ..models.fused import FusedNetwork
from ..models.supernet import Supernet
from ..utils.errors import InputError
from .recipe import Recipe

_SMALL = 64  # pixels along a side of an image


def use_backend(supernet: Supernet, recipe: Recipe, *, note: Callable[[str], None]) -> None:
    """Let the recipe's backend run a supernet's networks; if it is "auto", the fused kernels wherever they can.

    Args:
        supernet: The supernet, on the device on which it is trained.
        recipe: Its backend and precision count.
        note: Receives what runs them, and why: a message of one line.

    Raises:
        InputError: The backend is "fused", and the kernels cannot run the supernet.
    """
    device = next(supernet.parameters()).device
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
    if not is_single and max(supernet.space.resolution) <= _SMALL:
        supernet.use_memory_format(torch.contiguous_format)


def _obstacle(supernet: Supernet, precision: str, device: torch.device, note: Callable[[str], None]) -> str:
    """Return why the kernels cannot run a supernet; "" if they can."""
    if device.type != "cpu":
        return f"the kernels run on a CPU, not on {device.type}"
    if precision != "fp32":
        return f"the kernels compute in fp32, not in {precision}"
    try:
        if not is_compiled():
            note("compiling the fused CPU kernels, once; this takes some seconds")
        load_library()
        resolution = supernet.net.arch.resolution
        FusedNetwork(supernet.net).program(resolution, resolution)
    except (KernelsUnavailableError, NotCoveredError) as error:
        return str(error)
    return ""
