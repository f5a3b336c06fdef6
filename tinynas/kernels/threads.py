"""How many threads run the kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lent: list[int] = []  # by the bodies of `all_threads_for_kernels` that are being run


@contextmanager
def all_threads_for_kernels(applies: bool = True) -> Iterator[None]:
    """Let the kernels use PyTorch's threads in the body, and PyTorch a single one.

    Between two operations PyTorch's other threads wait for the next one without leaving their cores, for milliseconds
    (GNU OpenMP), so that the kernels' threads would get half of the time there. What PyTorch is left to do in a step of
    fused networks is too small for more than one thread.

    Args:
        applies: False leaves everything as it is.
    """
    if not applies:
        yield
        return
    threads = torch.get_num_threads()
    _lent.append(kernel_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _lent.pop()


def kernel_threads() -> int:
    """Return the number of threads that run the kernels."""
    return _lent[-1] if _lent else torch.get_num_threads()
