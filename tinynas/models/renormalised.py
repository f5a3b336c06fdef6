"""A network that gets images normalised for another one."""

import torch
from torch import Tensor, nn

from ..data.base import Normalisation


class Renormalised(nn.Module):
    """A network whose images are normalised by other means and deviations than its own.

    Args:
        net: The network.
        own: How it takes images normalised.
        others: How the images are normalised that it gets; of as many channels.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, net: nn.Module, *, own: Normalisation, others: Normalisation) -> None:
        super().__init__()
        self.net = net
        std = torch.tensor(own.std).view(-1, 1, 1)
        self.register_buffer("scale", torch.tensor(others.std).view(-1, 1, 1) / std)
        self.register_buffer("shift", (torch.tensor(others.mean) - torch.tensor(own.mean)).view(-1, 1, 1) / std)

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's outputs for images (N, C, H, W) normalised by the others' means and deviations."""
        outputs: Tensor = self.net(images * self.scale + self.shift)
        return outputs
