"""What a network with early exits returns."""

from typing import NamedTuple

from torch import Tensor


class EarlyExitOutput(NamedTuple):
    """The prediction for each image, and the exit it took.

    Attributes:
        logits: Logits of the exit that the image took, (N, classes).
        exits: Index of that exit, (N,). The whole network is the last exit.
    """

    logits: Tensor
    exits: Tensor


class Prediction(NamedTuple):
    """What is predicted for each image.

    Attributes:
        classes: Index of the most likely class, (N,).
        confidences: Its calibrated probability, (N,).
        exits: Index of the exit that the image took, (N,).
    """

    classes: Tensor
    confidences: Tensor
    exits: Tensor
