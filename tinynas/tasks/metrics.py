"""How good a model is: accuracy, and average precision as VOC and COCO define it, counted by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .detection import Detections

_SIDE = 1000.0  # of the square that all images are taken for: precision does not change when axes are stretched


class AveragePrecision(NamedTuple):
    """Average precisions in percent. Means are over the classes that have objects; without any they are 0."""

    map: float  # mean over classes and over IoU thresholds 0.5, 0.55, ..., 0.95 (COCO)
    ap50: float  # mean over classes at IoU 0.5 (VOC)
    by_class: tuple[float | None, ...]  # at IoU 0.5; None for a class without objects


def average_precision(predictions: Sequence[Detections], objects: Sequence[Tensor], classes: int) -> AveragePrecision:
    """Return the average precision of the detections, given the true objects (M, 5), class and box, of each image."""
    from faster_coco_eval import COCO, COCOeval_faster

    annotations = _annotations(objects)
    results = _results(predictions)
    if not results or not annotations:
        return _no_precision(annotations, classes)
    truth = {
        "info": {},
        "images": [{"id": i, "width": _SIDE, "height": _SIDE} for i in range(len(objects))],
        "categories": [{"id": index, "name": str(index)} for index in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        evaluation = COCOeval_faster(coco, coco.loadRes(results), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return _summarise(evaluation.eval["precision"])


def _annotations(objects: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return the true objects as COCO's annotations, numbered from 1."""
    annotations: list[dict[str, Any]] = []
    for image, of_image in enumerate(objects):
        for row, box in zip(of_image, _coco_boxes(of_image[:, 1:]), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(row[0]),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return annotations


def _results(predictions: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return the detections as COCO's results."""
    results = []
    for image, of_image in enumerate(predictions):
        for box, score, label in zip(_coco_boxes(of_image.boxes), of_image.scores, of_image.classes, strict=True):
            results.append({"image_id": image, "category_id": int(label), "bbox": box, "score": float(score)})
    return results


def _no_precision(annotations: Sequence[dict[str, Any]], classes: int) -> AveragePrecision:
    """Return the average precision of no detections: 0 for each class with objects."""
    by_class: list[float | None] = [None] * classes
    for annotation in annotations:
        by_class[annotation["category_id"]] = 0.0
    return AveragePrecision(map=0.0, ap50=0.0, by_class=tuple(by_class))


def _summarise(precision: Any) -> AveragePrecision:
    """Average COCO's array (IoU threshold, recall, class, area, detections), -1 where a class has no objects."""
    of_all = np.where(precision[:, :, :, 0, -1] < 0, np.nan, precision[:, :, :, 0, -1])  # (T, R, classes)
    by_class = 100 * of_all.mean(1)  # (T, classes)
    at_50 = tuple(None if np.isnan(value) else float(value) for value in by_class[0])
    return AveragePrecision(map=float(np.nanmean(by_class)), ap50=float(np.nanmean(by_class[0])), by_class=at_50)


def _coco_boxes(boxes: Tensor) -> list[list[float]]:
    """Return boxes (K, 4) as COCO has them: left, top, width and height, in pixels."""
    scaled = boxes.double() * _SIDE
    rows: list[list[float]] = torch.cat([scaled[:, :2], scaled[:, 2:] - scaled[:, :2]], 1).tolist()
    return rows


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix (classes, classes) of class indices (N,): row the label, column the prediction."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy_of(counts: Tensor) -> float:
    """Return the percentage on the diagonal of a confusion matrix."""
    return 100 * counts.diagonal().sum().item() / counts.sum().item()


def accuracy_by_class(counts: Tensor) -> list[float | None]:
    """Return the percentage on the diagonal in each row of a confusion matrix; None in a row without images."""
    accuracies: list[float | None] = []
    for correct, images in zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True):
        accuracies.append(100 * correct / images if images else None)
    return accuracies


def mean_accuracy(by_class: Sequence[float | None]) -> float:
    """Return the balanced accuracy: the mean over the classes with images, of which there is at least one."""
    known = [accuracy for accuracy in by_class if accuracy is not None]
    return sum(known) / len(known)
