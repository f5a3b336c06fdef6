"""Memory that worker processes share with the process that started them, in slots of equal size."""

import mmap

import torch
from torch import Tensor


class Slots:
    """Slots of bytes, for processes that are forked after they are made.

    The memory belongs to no file: the size of /dev/shm, which is small in containers, does not limit it.

    Args:
        count: Number of slots.
        num_bytes: Size of a slot.
    """

    def __init__(self, count: int, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._memory = mmap.mmap(-1, count * num_bytes)

    def tensor(self, number: int) -> Tensor:
        """Return a slot's memory, uint8 (num_bytes,)."""
        offset = number * self._num_bytes
        return torch.frombuffer(self._memory, dtype=torch.uint8, count=self._num_bytes, offset=offset)
