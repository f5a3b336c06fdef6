"""Calibrated confidence: temperature scaling, reliability diagrams, expected calibration error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BINS = 15  # of a reliability diagram


class ExitOutputs(NamedTuple):
    """The outputs of every exit for all images of a split, with the labels.

    Attributes:
        logits: Logits of every exit, (exits, N, classes). The last exit is the whole network.
        labels: Class indices, (N,).
    """

    logits: Tensor
    labels: Tensor

    def correct(self) -> np.ndarray:
        """Return whether each exit predicts each image's label, (exits, N)."""
        return (self.logits.argmax(2) == self.labels).cpu().numpy()

    def predicted(self, exits: np.ndarray) -> np.ndarray:
        """Return the class that is predicted for each image (N,) at the exit that it takes (N,)."""
        classes: np.ndarray = self.logits.argmax(2).cpu().numpy()[exits, np.arange(len(exits))]
        return classes

    def probabilities(self, temperatures: Sequence[float]) -> Tensor:
        """Return the probabilities of every exit, at one temperature for each exit, (exits, N, classes)."""
        return (self.logits.float() / torch.tensor(temperatures)[:, None, None]).softmax(2)

    def confidences(self, temperatures: Sequence[float]) -> np.ndarray:
        """Return the confidence of every exit, at one temperature for each exit, (exits, N)."""
        return self.probabilities(temperatures).amax(2).cpu().numpy()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that minimizes the cross-entropy of logits (N, classes) and labels (N,).

    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = logits.cpu().double(), labels.cpu()  # not every device computes in double precision

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


class ReliabilityBin(NamedTuple):
    """A bin of a reliability diagram: the images whose confidence lies in one interval.

    Attributes:
        images: Number of images in the bin.
        confidence: Mean confidence, 0 to 1.
        accuracy: Fraction of the images that are classified correctly, 0 to 1.
    """

    images: int
    confidence: float
    accuracy: float


def reliability(confidences: np.ndarray, correct: np.ndarray) -> list[ReliabilityBin]:
    """Return the non-empty bins, of equal width, for confidences (N,) and whether each image is correct (N,)."""
    numbers = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    bins = []
    for number in np.unique(numbers):
        members = numbers == number
        mean_confidence = float(confidences[members].mean())
        bins.append(ReliabilityBin(int(members.sum()), mean_confidence, float(correct[members].mean())))
    return bins


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error in percentage points (Guo et al., 2017, section 2)."""
    images, gaps = 0, 0.0
    for entry in bins:
        images += entry.images
        gaps += entry.images * abs(entry.confidence - entry.accuracy)
    return 100 * gaps / images
