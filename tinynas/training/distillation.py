"""A teacher: a trained network whose outputs are soft labels for another."""

import torch
from torch import Tensor, nn

from ..data.base import Batch
from ..utils.distributed import device

_BYTES_ON_DEVICE = 2**30


class Teacher:
    """A network in eval mode that is evaluated on training batches, without gradient.

    `cached_images` is the number of training images if they are never augmented: the outputs for each are then computed
    once and kept, on the device if they take at most 1 GiB, else on the CPU. 0 caches nothing.
    """

    def __init__(self, net: nn.Module, *, cached_images: int = 0) -> None:
        self.net = net.eval().requires_grad_(False).to(device())
        self._is_cached = torch.zeros(cached_images, dtype=torch.bool)
        self._cache = torch.empty(0)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the outputs for a batch: logits (N, classes), or a detector's (N, P, 5 + classes)."""
        if not len(self._is_cached):
            return self._evaluate(batch.images)
        if not self._is_cached[batch.indices].all():
            outputs = self._evaluate(batch.images)
            if not len(self._cache):
                self._cache = _empty_cache(len(self._is_cached), outputs)
            self._cache[batch.indices.to(self._cache.device)] = outputs.to(self._cache.device)
            self._is_cached[batch.indices] = True
        return self._cache[batch.indices.to(self._cache.device)].to(batch.images.device)

    @torch.no_grad()
    def _evaluate(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.net(images)
        return outputs.float()


def _empty_cache(images: int, outputs: Tensor) -> Tensor:
    """Return a tensor for the outputs of so many images, given those of a batch, on their device if they fit."""
    fits = images * outputs[0].nbytes <= _BYTES_ON_DEVICE
    return torch.empty(images, *outputs.shape[1:], device=outputs.device if fits else "cpu")
