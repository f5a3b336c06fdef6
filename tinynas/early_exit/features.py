"""What side heads are trained on: the pooled features of all images, and the targets."""

from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot


class StoredRows:
    """Rows of floats (N, C), added a batch at a time and kept in a temporary file.

    The operating system keeps in memory what fits there, so that there may be more rows than memory. A context manager;
    the tensor of the rows outlives it.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed at the end of the context
        self._shape = (0, 0)

    def __enter__(self) -> "StoredRows":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, rows: Tensor) -> None:
        """Add rows (M, C), on any device."""
        self._file.write(rows.float().cpu().contiguous().numpy().data)
        self._shape = self._shape[0] + len(rows), rows.shape[1]

    def tensor(self) -> Tensor:
        """Return all rows (N, C), mapped into memory."""
        self._file.flush()
        return torch.from_numpy(np.memmap(self._file, dtype=np.float32, mode="r+", shape=self._shape))


@dataclass(frozen=True, kw_only=True)
class HeadTargets:
    """The target probabilities of images: their labels and, with distillation, the network's own outputs.

    Attributes:
        labels: Class indices, (N,).
        classes: Number of classes.
        logits: The network's own outputs, (N, classes); None without distillation.
        distillation: Weight of the network's outputs, 0 to 1; the labels have the rest.
        temperature: Temperature at which the outputs are softened.
    """

    labels: Tensor
    classes: int
    logits: Tensor | None = None
    distillation: float = 0.0
    temperature: float = 1.0

    def take(self, images: Tensor) -> Tensor:
        """Return the target probabilities (M, classes) of images with these numbers (M,)."""
        targets = one_hot(self.labels[images], self.classes).float()
        if self.logits is None:
            return targets
        return targets.lerp((self.logits[images] / self.temperature).softmax(1), self.distillation)
