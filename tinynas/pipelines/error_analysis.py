"""What a trained model gets wrong on the test split: a retraining's errors.json."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.base import Data
from ..early_exit.calibration import calibration_error, reliability
from ..experiment.box_picture import png
from ..experiment.error_analysis import Calibration, ErrorAnalysis, Mistake
from ..experiment.evaluation_report import ErrorReport
from ..models.network import Network
from ..tasks.cache_batch import images_in_cache
from ..tasks.metrics import confusion
from ..tasks.registry import TASKS
from .detection_errors import count_rows, detection_errors
from .shown_boxes import seen_images

_MISTAKES = 12


def analyse_errors(net: Network, data: Data) -> ErrorAnalysis:
    """Return what a network gets wrong on the test split.

    Args:
        net: The network, on the device that it is to run on.
        data: A data set of its classes.

    Returns:
        The confusion matrix; of a classifier also its calibration, and the mistakes of which it is most confident.
    """
    if TASKS[data.task].predicts_boxes:
        return ErrorAnalysis(errors=detection_errors(net, data)[1])
    probabilities, labels = _probabilities(net, data)
    confidences, predicted = probabilities.max(1)
    is_right = predicted == labels
    bins = reliability(confidences.numpy(), is_right.numpy())
    wrong = (~is_right).nonzero()[:, 0]
    chosen = wrong[confidences[wrong].argsort(descending=True, stable=True)][:_MISTAKES].tolist()
    pictures = _pictures(net, data, chosen)
    mistakes = []
    for index, picture in zip(chosen, pictures, strict=True):
        mistakes.append(
            Mistake(
                truth=data.classes[int(labels[index])],
                predicted=data.classes[int(predicted[index])],
                confidence=float(confidences[index]),
                image=index,
                picture=picture,
            )
        )
    counts = confusion(predicted, labels, len(data.classes)).numpy()
    return ErrorAnalysis(
        errors=ErrorReport(classes=data.classes, confusion=count_rows(counts)),
        calibration=Calibration(error=calibration_error(bins), bins=tuple(bins)),
        mistakes=mistakes,
    )


@torch.no_grad()
def _probabilities(net: Network, data: Data) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the classes (N, classes) of all test images, and their labels (N,)."""
    net.eval()
    device = next(net.parameters()).device
    probabilities, labels = [], []
    for images, of_images in data.evaluation_batches(data.test, net.arch.resolution, images_in_cache(net.arch)):
        probabilities.append(net(images.to(device)).float().softmax(1).cpu())
        labels.append(of_images.cpu())
    return torch.cat(probabilities), torch.cat(labels)


def _pictures(net: Network, data: Data, indices: Sequence[int]) -> list[str]:
    """Return test images as the network sees them, as PNG files in base64."""
    if not indices:
        return []
    pixels, _ = seen_images(data, data.test, indices, net.arch.resolution)
    return [b64encode(png(_picture(image))).decode() for image in pixels]


def _picture(pixels: Any) -> Image.Image:
    """Return an image (H, W, C) as a picture: of one channel in grey, otherwise the first three in colour."""
    if pixels.shape[2] >= 3:
        return Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]))
