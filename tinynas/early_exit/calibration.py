"""Calibrated confidence: temperature scaling, reliability, expected calibration error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BINS = 15  # of confidence


class Outputs(NamedTuple):
    """What every exit says of the images of a split, all having been run to the end."""

    logits: Tensor  # (exits, N, classes); the last exit is the whole network
    labels: Tensor  # (N,)

    def correct(self) -> np.ndarray:
        """Whether each exit is right: (exits, N)."""
        return (self.logits.argmax(2) == self.labels).numpy()

    def confidences(self, temperatures: Sequence[float]) -> np.ndarray:
        """Of every exit: (exits, N)."""
        pairs = zip(self.logits, temperatures, strict=True)
        return np.stack([confidence(logits, temperature).numpy() for logits, temperature in pairs])


def confidence(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """Logits (N, classes) -> the largest softmax probability of each image, (N,)."""
    return (logits.float() / temperature).softmax(1).amax(1)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits (N, classes) are to be divided by, for the likeliest labels (N,) (Guo et al., 2017, section 4.2)."""
    from scipy.optimize import minimize_scalar

    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


class Bin(NamedTuple):
    """Images of like confidence."""

    images: int
    confidence: float  # their mean
    accuracy: float  # the share of them that is right


def reliability(confidences: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """The bins of a reliability diagram, of equal width, those that have images: from confidences and hits, (N,)."""
    numbers = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    members = [numbers == i for i in np.unique(numbers)]
    return [Bin(int(m.sum()), float(confidences[m].mean()), float(correct[m].mean())) for m in members]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error, in percentage points (Guo et al., 2017, section 2)."""
    total = sum(one.images for one in bins)
    return 100 * sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / total
