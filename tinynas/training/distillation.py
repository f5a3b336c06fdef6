"""A teacher's outputs for a batch of training images."""

import torch
from torch import Tensor, nn

from ..data.base import Batch
from ..utils.distributed import device


class Teacher:
    """A network in eval mode that answers for training batches; without augmentation each image is looked at once.

    `images` is how many training images there are, if what it says of them may be kept, else 0.
    """

    def __init__(self, net: nn.Module, *, images: int = 0) -> None:
        self.net = net.eval().requires_grad_(False).to(device())
        self._known = torch.zeros(images, dtype=torch.bool)
        self._outputs = torch.empty(0)

    def __call__(self, batch: Batch) -> Tensor:
        """Its outputs, logits (N, classes) or a detector's, without gradient."""
        if not len(self._known):
            return self._answer(batch.images)
        if not self._known[batch.indices].all():
            outputs = self._answer(batch.images).cpu()
            if not len(self._outputs):
                self._outputs = torch.empty(len(self._known), *outputs.shape[1:])
            self._outputs[batch.indices], self._known[batch.indices] = outputs, True
        return self._outputs[batch.indices].to(batch.images.device)

    @torch.no_grad()
    def _answer(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.net(images)
        return outputs.float()
