"""Copies of tensors to a device."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

CPU = torch.device("cpu")


PixelBatch = tuple[Tensor, Tensor]  # uint8 (N, C, H, W); labels


def uploaded(batches: Iterable[PixelBatch], device: torch.device) -> Iterator[PixelBatch]:
    """Yield batches with their pixels on a device; labels stay where they are.

    A GPU copies the next batch while it computes on the one that was yielded: from memory that is not swapped out, in
    a stream of its own.
    """
    if device.type != "cuda":
        for pixels, labels in batches:
            yield pixels.to(device), labels
        return
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ready: PixelBatch | None = None
    for pixels, labels in batches:
        with torch.cuda.stream(copies):
            copy = pixels.pin_memory().to(device, non_blocking=True)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(copies)
        copy.record_stream(torch.cuda.current_stream(device))
        ready = copy, labels
    if ready is not None:
        yield ready
