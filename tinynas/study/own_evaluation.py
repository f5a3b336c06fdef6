"""Evaluation of subnets by a function of a user's program, in place of the task's metric."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..data.base import Data, Split
from ..utils.numbers import as_number
from ..utils.sizes import Size
from .history import NoNumberError

LabelledBatches = Iterable[tuple[Tensor, Tensor]]
Evaluate = Callable[[nn.Module, LabelledBatches], float]  # higher is better


class SplitBatches:
    """The batches of a split, on a network's device: an iterable that starts anew each time.

    Args:
        data: The data set.
        split: One of its splits.
        resolution: Size of the images in pixels.
        batch_size: Images of a batch, at most.
        device: Where images and labels are.
    """

    def __init__(self, data: Data, split: Split, resolution: Size, batch_size: int, device: torch.device) -> None:
        self._data = data
        self._split = split
        self._resolution = resolution
        self._batch_size = batch_size
        self._device = device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._data.evaluation_batches(self._split, self._resolution, self._batch_size):
            yield images.to(self._device), labels.to(self._device)


class OwnMetric:
    """A user's function as a method of a task that measures a network, such as `Task.accuracy`.

    Args:
        evaluate: Returns a number, the higher the better, for a network and labelled batches.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._name = getattr(evaluate, "__name__", type(evaluate).__name__)

    @torch.no_grad()
    def __call__(self, model: nn.Module, arch: Arch, data: Data, split: Split, *, batch_size: int) -> float:
        """Return the value for a model of an arch on a split.

        Raises:
            NoNumberError: The function returned no number.
        """
        device = next(model.parameters()).device
        value: object = self._evaluate(model.eval(), SplitBatches(data, split, arch.resolution, batch_size, device))
        number = as_number(value)
        if number is None:
            raise NoNumberError(
                f"the function {self._name} of evaluate must return a number, but returned {value!r:.60} of the type "
                f"{type(value).__name__}; correct it, then continue with --resume"
            )
        return number
