"""Batch-norm recalibration: a subnet's statistics differ from those of the supernet it is part of."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set all running statistics to their means over batches of images (N, C, H, W), and the model to eval mode.

    Precise batch norm (Wu and Johnson, 2021, section 3): one pass with fixed weights, all batches weighted equally.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
