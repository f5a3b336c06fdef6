"""Training steps recorded as CUDA graphs: the GPU repeats a step without waiting for Python to launch its kernels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..data.base import Batch
from ..utils.text import first_line
from .sgd import SGD

_STEPS_BEFORE = 3  # of a kind, run as usual: libraries choose their kernels, and the optimizer allocates its momentum

Step = Callable[[Batch], Tensor]


class RecordedSteps:
    """Steps that do the same each time but for the batch and the learning rate, recorded once of each kind.

    Args:
        optimizer: Its learning rates are set before each step.
        most: Kinds of steps that are recorded, at most; 0 records none.
        note: Receives why steps cannot be recorded, once, if they cannot: a message of one line.
    """

    def __init__(self, optimizer: SGD, *, most: int, note: Callable[[str], None]) -> None:
        self._is_usable = True
        self._note = note
        self._optimizer = optimizer
        self._most = most
        self._rates: list[Tensor] = []  # of the groups of parameters, on the GPU, where recorded steps read them
        self._counts: dict[tuple[object, ...], int] = {}
        self._recorded: dict[tuple[object, ...], _Recording] = {}

    def run(self, step: Step, batch: Batch, kind: tuple[object, ...] | None) -> Tensor:
        """Run a step on a batch: as usual the first times, then as it was recorded.

        Args:
            step: Trains on a batch, and returns a result on the GPU.
            batch: Images and labels on the GPU.
            kind: Steps of the same kind, on batches of the same shape, do the same; None if no other does.

        Returns:
            The result.
        """
        if kind is None or batch.labels.ndim > 1 or not self._most or not self._is_usable:
            return step(batch)  # the labels of detectors are as many as there are objects
        key = (*kind, batch.images.shape)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count <= _STEPS_BEFORE or (key not in self._recorded and len(self._recorded) == self._most):
            return step(batch)
        if key not in self._recorded:
            try:
                self._recorded[key] = self._record(step, batch)
            except RuntimeError as error:  # something in it has to be read back, or cannot be recorded
                torch.cuda.synchronize()  # raises an error again that is the GPU's
                self._is_usable = False
                self._note(f"steps are not recorded as CUDA graphs, and take longer: {first_line(str(error))}")
                return step(batch)
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        return self._recorded[key].replay(batch)

    def _record(self, step: Step, batch: Batch) -> "_Recording":
        if not self._rates:
            self._rates = [torch.zeros((), device=batch.images.device) for _ in self._optimizer.param_groups]
        with self._rates_on_gpu():
            return _Recording(step, batch)

    @contextmanager
    def _rates_on_gpu(self) -> Iterator[None]:
        """Let the optimizer read its learning rates from the GPU."""
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                group["lr"] = rate
            yield
        finally:
            for group, number in zip(groups, rates, strict=True):
                group["lr"] = number


class _Recording:
    """A recorded step, and the memory of its batch and its result."""

    def __init__(self, step: Step, batch: Batch) -> None:
        self._batch = batch._replace(images=batch.images.clone(), labels=batch.labels.clone())
        if batch.teacher_outputs is not None:
            self._batch = self._batch._replace(teacher_outputs=batch.teacher_outputs.clone())
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(self._graph):
            self._result = step(self._batch)

    def replay(self, batch: Batch) -> Tensor:
        """Run the step on another batch."""
        self._batch.images.copy_(batch.images)
        self._batch.labels.copy_(batch.labels)
        if batch.teacher_outputs is not None and self._batch.teacher_outputs is not None:
            self._batch.teacher_outputs.copy_(batch.teacher_outputs)
        self._graph.replay()
        return self._result.clone()
