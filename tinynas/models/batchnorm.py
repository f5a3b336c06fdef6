"""Batch norm, over all processes of a data-parallel training or over one; and its recalibration.

A subnet's statistics differ from those of the supernet it is part of, and are recalibrated.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.distributed import gather_from_processes, sum_over_processes, world_size

_PIXELS = (0, 2, 3)  # dimensions of a map that a norm averages


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of maps, (N, C, H, W) -> (N, C, H, W).

    Attributes:
        synchronised: Whether the statistics in training mode are those of the whole batch of a data-parallel training,
            of which this process has a part; by default they are those of the part. All parts have the same size.
    """

    synchronised = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, and update the running statistics in training mode."""
        if not (self.training and self.synchronised) or world_size() == 1:
            return super().forward(x)
        y, mean, variance = _WholeBatchNorm.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None:
            count = x.numel() // x.shape[1] * world_size()
            self._track(mean, variance * (count / (count - 1)))
        return y  # type: ignore[no-any-return]

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Update the running statistics by those of a batch."""
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)
        self.num_batches_tracked.add_(1)


def synchronise_norms(module: nn.Module, synchronised: bool) -> None:
    """Set whether the batch norms of a module see the whole batch."""
    for norm in module.modules():
        if isinstance(norm, BatchNorm):
            norm.synchronised = synchronised


class _WholeBatchNorm(torch.autograd.Function):
    """Batch norm by the mean and the variance of the whole batch, whose parts are in the processes.

    With loss L in this process, the gradient of the sum of all processes' losses is returned for x, and that of L for
    weight and bias: averaged over the processes they are those of the mean loss. torch.nn.SyncBatchNorm does the same,
    on GPUs only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        of_part = torch.var_mean(_in_full(x), _PIXELS, correction=0)
        variances, means = gather_from_processes(torch.stack(of_part)).unbind(1)  # (processes, C) each
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        return nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        gradient = _in_full(gradients[0])
        normalised = (_in_full(x) - _by_channel(mean)) * _by_channel(scale)
        of_bias = gradient.sum(_PIXELS)
        of_weight = (gradient * normalised).sum(_PIXELS)
        count = x.numel() // x.shape[1] * world_size()
        mean_gradient, mean_product = sum_over_processes(torch.stack([of_bias, of_weight])) / count
        centred = gradient - _by_channel(mean_gradient) - normalised * _by_channel(mean_product)
        return (centred * _by_channel(weight * scale)).to(x.dtype), of_weight, of_bias, None


def _in_full(x: Tensor) -> Tensor:
    """Return maps of 16 bits in fp32, others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _by_channel(values: Tensor) -> Tensor:
    """Return values (C,) so that they are applied to the channels of maps (N, C, H, W)."""
    return values.view(-1, 1, 1)


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
        norm.train()
    for number, images in enumerate(batches, 1):
        for norm in norms:
            norm.momentum = 1 / number  # cumulative mean; for None, PyTorch reads the number from the device each time
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
