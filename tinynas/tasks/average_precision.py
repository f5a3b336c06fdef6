"""Average precision and recall of detectors by COCO's protocol, counted by faster-coco-eval.

Boxes are compared at IoU 0.50, 0.55, ..., 0.95, with precision at 101 points of recall, for at most 100 detections of a
class on an image. Some objects are ignored: what is detected there is neither right nor wrong.

- Crowds, as COCO does: any number of detections match a crowd, and overlap is measured as the fraction of the detection
  that lies in it.
- Difficult objects, which COCO does not have, as COCO ignores objects outside of a range of areas: they are matched by
  IoU, once each, by detections that match no object that counts.

Small objects have up to 32 x 32 pixels of the original image, large ones from 96 x 96 on. The area of an object is the
annotated one (COCO's is that of the outline), and otherwise the box's. A detection that matches no object counts in the
range that its box is in.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from math import isfinite, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data.objects import AREA, BOX, CLASS, CROWD, DIFFICULT, KIND, complete
from .detection import Detections
from .detection_figures import DetectionFigures
from .matching import VocPrecision

SIZES = ("small", "medium", "large")
_SIDE = 1000.0  # of the square that an image of unknown size is taken for
_IGNORED_AREA = 1e11  # outside of all of COCO's ranges, whose largest ends at 1e10
_AP75 = 5  # index of IoU 0.75 among COCO's thresholds
_ALL_AREAS = 0  # index of the range of all areas
Annotation = dict[str, Any]


class AveragePrecision(NamedTuple):
    """COCO's figures in percent. Means are over the classes that have objects; without any they are 0."""

    map: float  # mean over classes and over IoU thresholds 0.5, 0.55, ..., 0.95
    ap50: float  # mean over classes at IoU 0.5
    ap75: float  # mean over classes at IoU 0.75
    ar: float  # average recall: mean over classes and IoU thresholds of the recall of 100 detections an image
    by_class: tuple[float | None, ...]  # at IoU 0.5; None for a class without objects
    map_by_class: tuple[float | None, ...]  # mean over the IoU thresholds
    ap_by_size: tuple[float | None, ...]  # of small, medium and large objects; None without any, or of unknown area
    ar_by_size: tuple[float | None, ...]


def average_precision(
    predictions: Sequence[Detections], objects: Sequence[Tensor], classes: int, pixels: Tensor | None = None
) -> AveragePrecision:
    """Return the average precision of detections.

    Args:
        predictions: The detections on every image.
        objects: The true objects (M, 7) on every image.
        classes: Number of classes.
        pixels: Width times height of every original image, (N,). If one is unknown, there are no figures by size.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    sides = _sides(pixels, len(objects))
    annotations = list(_annotations(objects, sides))
    if not annotations:
        return _no_objects(classes)
    truth = {
        "info": {},
        "images": [{"id": index, "width": side, "height": side} for index, side in enumerate(sides)],
        "categories": [{"id": index, "name": str(index)} for index in range(classes)],
        "annotations": annotations,
    }
    results = list(_results(predictions, sides)) or [_WRONG]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        evaluation = COCOeval_faster(coco, coco.loadRes(results), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    areas_are_known = pixels is not None and bool(pixels.isfinite().all())
    return _summarise(evaluation.eval["precision"], evaluation.eval["recall"], areas_are_known=areas_are_known)


_WRONG = {"image_id": 0, "category_id": 0, "bbox": [0.0, 0.0, 0.0, 0.0], "score": 0.0}  # there must be a detection


def detection_figures(precision: AveragePrecision, voc: VocPrecision, classes: Sequence[str]) -> DetectionFigures:
    """Return the figures of both protocols as reports have them."""
    ap_small, ap_medium, ap_large = precision.ap_by_size
    ar_small, ar_medium, ar_large = precision.ar_by_size
    return DetectionFigures(
        ap75=precision.ap75,
        ap_by_class=dict(zip(classes, precision.map_by_class, strict=True)),
        ap_small=ap_small,
        ap_medium=ap_medium,
        ap_large=ap_large,
        ar=precision.ar,
        ar_small=ar_small,
        ar_medium=ar_medium,
        ar_large=ar_large,
        voc_ap50=voc.all_points,
        voc_ap50_11_points=voc.eleven_points,
    )


def _sides(pixels: Tensor | None, images: int) -> list[float]:
    """Return the side of a square of as many pixels as every image has: stretching it changes neither IoU nor area."""
    if pixels is None:
        return [_SIDE] * images
    return [sqrt(count) if isfinite(count) else _SIDE for count in pixels.tolist()]


def _annotations(objects: Sequence[Tensor], sides: Sequence[float]) -> Iterator[Annotation]:
    """Yield the true objects as COCO's annotations, numbered from 1."""
    number = 0
    for image, (of_image, side) in enumerate(zip(objects, sides, strict=True)):
        rows = complete(of_image, side**2)
        for row, box in zip(rows.tolist(), _coco_boxes(rows[:, BOX], side), strict=True):
            number += 1
            area = row[AREA] if isfinite(row[AREA]) else box[2] * box[3]
            yield {
                "id": number,
                "image_id": image,
                "category_id": int(row[CLASS]),
                "bbox": box,
                "area": _IGNORED_AREA if row[KIND] == DIFFICULT else area,
                "iscrowd": int(row[KIND] == CROWD),
            }


def _results(predictions: Sequence[Detections], sides: Sequence[float]) -> Iterator[Annotation]:
    """Yield the detections as COCO's results."""
    for image, (of_image, side) in enumerate(zip(predictions, sides, strict=True)):
        scores, labels = of_image.scores.tolist(), of_image.classes.tolist()
        for box, score, label in zip(_coco_boxes(of_image.boxes, side), scores, labels, strict=True):
            yield {"image_id": image, "category_id": int(label), "bbox": box, "score": score}


def _coco_boxes(boxes: Tensor, side: float) -> list[list[float]]:
    """Return boxes (K, 4) as COCO has them: left, top, width and height, in pixels of a square."""
    scaled = boxes.double() * side
    rows: list[list[float]] = torch.cat([scaled[:, :2], scaled[:, 2:] - scaled[:, :2]], 1).tolist()
    return rows


def _no_objects(classes: int) -> AveragePrecision:
    unknown = (None,) * classes
    no_sizes = (None,) * len(SIZES)
    return AveragePrecision(0.0, 0.0, 0.0, 0.0, unknown, unknown, no_sizes, no_sizes)


def _summarise(
    precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64], *, areas_are_known: bool
) -> AveragePrecision:
    """Average COCO's arrays.

    Args:
        precision: (IoU threshold, recall, class, area, detections), -1 where a class has no objects.
        recall: (IoU threshold, class, area, detections), likewise.
        areas_are_known: Whether there are figures by size.
    """
    precision, recall = precision[..., -1], recall[..., -1]
    of_all = precision[..., _ALL_AREAS]
    ap_by_size: list[float | None] = [None] * len(SIZES)
    ar_by_size: list[float | None] = [None] * len(SIZES)
    if areas_are_known:
        for size in range(len(SIZES)):
            ap_by_size[size] = _mean(precision[..., 1 + size])
            ar_by_size[size] = _mean(recall[..., 1 + size])
    return AveragePrecision(
        map=_mean(of_all) or 0.0,
        ap50=_mean(of_all[0]) or 0.0,
        ap75=_mean(of_all[_AP75]) or 0.0,
        ar=_mean(recall[..., _ALL_AREAS]) or 0.0,
        by_class=tuple(map(_mean, of_all[0].T)),
        map_by_class=tuple(map(_mean, np.moveaxis(of_all, -1, 0))),
        ap_by_size=tuple(ap_by_size),
        ar_by_size=tuple(ar_by_size),
    )


def _mean(fractions: npt.NDArray[np.float64]) -> float | None:
    """Return the mean in percent of what is not -1; None if all is."""
    known = fractions[fractions > -1]
    return 100 * float(known.mean()) if len(known) else None
