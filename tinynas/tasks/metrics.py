"""How good a detector is: average precision as VOC and COCO define it, counted by faster-coco-eval."""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .detection import Found

_SIDE = 1000.0  # of the square that all images are taken for: precision does not change when axes are stretched


class Precision(NamedTuple):
    """Average precisions in percent; nan for a class without objects."""

    map: float  # mean over classes and over IoU thresholds 0.5, 0.55, ..., 0.95 (COCO)
    ap50: float  # mean over classes at IoU 0.5 (VOC)
    by_class: tuple[float, ...]  # at IoU 0.5


def average_precision(found: Sequence[Found], objects: Sequence[Tensor], classes: int) -> Precision:
    """Of the detections and the true objects, (M, 5): class and box, of each image."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth: dict[str, Any] = {
        "info": {},
        "images": [{"id": i, "width": _SIDE, "height": _SIDE} for i in range(len(objects))],
        "categories": [{"id": c, "name": str(c)} for c in range(classes)],
        "annotations": [
            {"image_id": i, "category_id": int(row[0]), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, of_image in enumerate(objects)
            for row, box in zip(of_image, _sized(of_image[:, 1:]), strict=True)
        ],
    }
    for number, annotation in enumerate(truth["annotations"], 1):
        annotation["id"] = number
    guesses = [
        {"image_id": i, "category_id": int(label), "bbox": box, "score": float(score)}
        for i, one in enumerate(found)
        for box, score, label in zip(_sized(one.boxes), one.scores, one.classes, strict=True)
    ]
    if not guesses or not truth["annotations"]:
        return Precision(0.0, 0.0, (0.0,) * classes)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(truth)
        count = COCOeval_faster(known, known.loadRes(guesses), iouType="bbox")
        count.evaluate()
        count.accumulate()
    return _summary(count.eval["precision"])


def _summary(precision: Any) -> Precision:
    """Of COCO's array: IoU threshold, recall, class, area, detections; -1 where a class has no objects."""
    of_all = np.where(precision[:, :, :, 0, -1] < 0, np.nan, precision[:, :, :, 0, -1])  # (T, R, classes)
    by_class = 100 * of_all.mean(1)  # (T, classes)
    return Precision(float(np.nanmean(by_class)), float(np.nanmean(by_class[0])), tuple(map(float, by_class[0])))


def _sized(boxes: Tensor) -> list[list[float]]:
    """Left, top, width and height, as COCO has them."""
    scaled = boxes.double() * _SIDE
    rows: list[list[float]] = torch.cat([scaled[:, :2], scaled[:, 2:] - scaled[:, :2]], 1).tolist()
    return rows


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (classes, classes) of class indices (N,): row the label, column the prediction."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy_of(counts: Tensor) -> float:
    """Percent on the diagonal of a confusion matrix."""
    return 100 * counts.diagonal().sum().item() / counts.sum().item()


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in percent that was measured on this many images."""
    return math.sqrt(accuracy * (100 - accuracy) / images)
