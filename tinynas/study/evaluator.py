"""The accuracy of a supernet's subnets on search-val."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..data.base import EVALUATION_BATCH, Data, Split
from ..data.cached import CachedSplit, cache_bytes, compact, normalised
from ..models.batchnorm import recalibrate
from ..models.network import Network, fold_in_place
from ..models.supernet import Supernet, extract_calibrated
from ..tasks.registry import TASKS
from ..utils.memory import keep_freed_memory
from ..utils.sizes import Size
from .own_evaluation import Evaluate, OwnMetric

Result = TypeVar("Result")


class SubnetEvaluator:
    """Evaluates subnets on search-val, each with batch norm recalibrated on the same training images and folded.

    The images of both are read and resized once per resolution, those of search-val as far as they fit into the cache
    of a `CachedSplit`.

    Where a GPU's memory is too small, the evaluation batch is halved until it fits. That changes no accuracy but by
    rounding: batch norm is folded. Batch-norm statistics do depend on the batches, so these stay as they are, and are
    estimated on the CPU instead. Both hold for all later subnets.

    Args:
        supernet: The trained supernet.
        data: The data set.
        note: Receives a message of one line when a GPU's memory was too small.
        evaluate: A user's function in place of the task's metric.

    Attributes:
        val: Search-val, from the cache.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: Data,
        *,
        note: Callable[[str], None] | None = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        keep_freed_memory()
        self.supernet = supernet
        device = next(supernet.parameters()).device
        self.data = data.to(device)
        self.val = CachedSplit(self.data.val, max_bytes=cache_bytes(device))
        self._note = note
        self._own_metric = OwnMetric(evaluate) if evaluate else None
        self._calibration: dict[Size, list[Tensor]] = {}  # compact batches of images by resolution
        self._calibrates_on_cpu = False
        self._batch_size = EVALUATION_BATCH

    def __call__(self, arch: Arch) -> float:
        """Return the accuracy (or AP50) of a subnet in percent, or what the user's function returns for it.

        It is the same for the same weights and arch.

        Raises:
            torch.OutOfMemoryError: The GPU's memory does not hold a batch of a single image.
            EvaluationError: The user's function returned no number.
        """
        if self._own_metric:
            net = self._calibrated(arch)
            fold_in_place(net)
            return self.measure(self._own_metric, net, arch, self.val)
        return self.measure(TASKS[self.data.task].accuracy, self.subnet(arch), arch, self.val)

    def subnet(self, arch: Arch) -> nn.Module:
        """Return what runs a recalibrated subnet: the fused kernels, which apply norms as they read, or PyTorch."""
        net = self._calibrated(arch)
        if not self.supernet.fused:
            fold_in_place(net)
        return self.supernet.runner(net)

    def measure(self, method: Callable[..., Result], model: nn.Module, arch: Arch, split: Split) -> Result:
        """Return what a method of the task, such as `Task.accuracy`, returns for a subnet on a split.

        Raises:
            torch.OutOfMemoryError: The GPU's memory does not hold a batch of a single image.
        """
        result = None
        batch_size = self._batch_size
        while result is None:
            try:
                result = method(model, arch, self.data, split, batch_size=batch_size)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size //= 2
            if result is None:  # not above: until the exception is gone, its frames keep tensors
                torch.cuda.empty_cache()
        if batch_size < self._batch_size:
            self._report(f"networks are evaluated in batches of {batch_size} images instead of {self._batch_size}")
            self._batch_size = batch_size
        return result

    def _calibrated(self, arch: Arch) -> Network:
        """Return a subnet with batch norm recalibrated, on the CPU if the GPU's memory has been too small for it."""
        if not self._calibrates_on_cpu:
            try:
                return extract_calibrated(self.supernet, arch, self._calibration_batches(arch.resolution))
            except torch.OutOfMemoryError:
                self._calibrates_on_cpu = True
            torch.cuda.empty_cache()
            self._report("batch norm is recalibrated on the CPU")
        net = self.supernet.extract(arch)
        device = next(net.parameters()).device
        recalibrate(net.cpu(), (images.cpu() for images in self._calibration_batches(arch.resolution)))
        return net.to(device)

    def _calibration_batches(self, resolution: Size) -> Iterator[Tensor]:
        """Yield the batches of training images on which batch norm is recalibrated."""
        if resolution not in self._calibration:
            batches = self.data.calibration_batches(resolution)
            self._calibration[resolution] = [compact(images, self.data.normalise) for images in batches]
        for images in self._calibration[resolution]:
            yield normalised(images, self.data.normalise)

    def _report(self, change: str) -> None:
        """Report what is done differently from now on."""
        if self._note:
            self._note(f"out of memory on the GPU: from now on, {change}")
