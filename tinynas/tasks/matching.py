"""Which detections are right, by the rule of Pascal VOC's development kit at IoU 0.5, and VOC's average precision.

In descending order of score, a detection belongs to the object of its class on its image that it overlaps most. It is
right if the overlap (IoU) is at least 0.5 and no detection before it was right about the object. It is ignored, neither
right nor wrong, if that object is difficult. All others are wrong.

Crowds, which VOC does not have, are no objects in this sense: a detection that would be wrong is ignored if at least
half of it lies in a crowd of its class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..data.objects import BOX, CLASS, CROWD, DIFFICULT, KIND, OBJECT, complete
from .detection import Detections

MATCH_IOU = 0.5
RIGHT, WRONG, IGNORED = 1, 0, -1  # outcomes
NO_OBJECT = -1
_RECALLS = 10  # VOC 2007 takes precision at recall 0, 1/10, ..., 10/10
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """What became of all detections of a split, in descending order of score.

    Attributes:
        images: Index of the image of every detection, (D,).
        rows: Its index among the detections of the image, (D,).
        classes: Its class, (D,).
        scores: Its score, (D,).
        outcomes: RIGHT, WRONG or IGNORED, (D,).
        objects: Index, among the objects of the image, of the object that a right detection belongs to, (D,);
            NO_OBJECT for others.
        ious: Overlap with that object, (D,); 0 for detections that are not right.
        counts: Objects of every class, (classes,), without crowds and difficult ones.
    """

    images: Integers
    rows: Integers
    classes: Integers
    scores: Floats
    outcomes: Integers
    objects: Integers
    ious: Floats
    counts: Integers

    def take(self, chosen: npt.NDArray[np.bool_] | Integers) -> "Matches":
        """Return some of the detections."""
        parts = {item.name: getattr(self, item.name)[chosen] for item in fields(self) if item.name != "counts"}
        return Matches(**parts, counts=self.counts)

    def of_class(self, index: int) -> "Matches":
        """Return the detections of a class that are right or wrong."""
        return self.take((self.classes == index) & (self.outcomes != IGNORED))


def match(predictions: Sequence[Detections], objects: Sequence[Tensor], classes: int) -> Matches:
    """Match the detections on images with the true objects (M, 7) there, as the module's docstring says."""
    counts = np.zeros(classes, np.int64)
    parts = [_no_matches(counts)]
    for image, (of_image, truth) in enumerate(zip(predictions, objects, strict=True)):
        rows = complete(truth).double().numpy()
        counted = rows[rows[:, KIND] == OBJECT, CLASS].astype(np.int64)
        counts += np.bincount(counted, minlength=classes)
        if len(of_image.scores):
            parts.append(_match_on_image(image, of_image, rows, counts))
    joined = {}
    for item in fields(Matches):
        if item.name != "counts":
            joined[item.name] = np.concatenate([getattr(part, item.name) for part in parts])
    matches = Matches(**joined, counts=counts)
    return matches.take(np.argsort(-matches.scores, kind="stable"))


def _no_matches(counts: Integers) -> Matches:
    nothing, no_fractions = np.zeros(0, np.int64), np.zeros(0)
    return Matches(
        images=nothing,
        rows=nothing,
        classes=nothing,
        scores=no_fractions,
        outcomes=nothing,
        objects=nothing,
        ious=no_fractions,
        counts=counts,
    )


def _match_on_image(image: int, detected: Detections, truth: Floats, counts: Integers) -> Matches:
    """Match the detections on an image, of which there are some, in their order, with its objects."""
    boxes = detected.boxes.double().numpy()
    scores = detected.scores.double().numpy()
    classes = detected.classes.long().numpy()
    same_class = classes[:, None] == truth[:, CLASS]
    is_crowd = truth[:, KIND] == CROWD
    overlaps = np.where(same_class & ~is_crowd, iou(boxes, truth[:, BOX]), 0.0)
    outcomes = np.full(len(boxes), WRONG)
    objects = np.full(len(boxes), NO_OBJECT)
    ious = np.zeros(len(boxes))
    if len(truth):
        best = overlaps.argmax(1)
        best_iou = overlaps.max(1)
        hits = best_iou >= MATCH_IOU
        on_difficult = hits & (truth[best, KIND] == DIFFICULT)
        outcomes[on_difficult] = IGNORED
        by_score = np.argsort(-scores, kind="stable")
        candidates = by_score[(hits & ~on_difficult)[by_score]]
        _, firsts = np.unique(best[candidates], return_index=True)
        right = candidates[firsts]
        outcomes[right] = RIGHT
        objects[right], ious[right] = best[right], best_iou[right]
        in_crowd = np.where(same_class & is_crowd, fraction_inside(boxes, truth[:, BOX]), 0.0).max(1) >= MATCH_IOU
        outcomes[in_crowd & (outcomes == WRONG)] = IGNORED
    return Matches(
        images=np.full(len(boxes), image),
        rows=np.arange(len(boxes)),
        classes=classes,
        scores=scores,
        outcomes=outcomes,
        objects=objects,
        ious=ious,
        counts=counts,
    )


def iou(boxes: Floats, others: Floats) -> Floats:
    """Return the IoU (K, M) of boxes (K, 4) and others (M, 4)."""
    shared = _intersection(boxes, others)
    together = _areas(boxes)[:, None] + _areas(others) - shared
    return shared / np.maximum(together, np.finfo(float).tiny)


def fraction_inside(boxes: Floats, others: Floats) -> Floats:
    """Return the fraction (K, M) of boxes (K, 4) that is inside of others (M, 4)."""
    return _intersection(boxes, others) / np.maximum(_areas(boxes), np.finfo(float).tiny)[:, None]


def _intersection(boxes: Floats, others: Floats) -> Floats:
    corners = np.maximum(boxes[:, None, :2], others[:, :2])
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - corners
    product: Floats = sides.clip(min=0).prod(-1)
    return product


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return areas


@dataclass(frozen=True, kw_only=True)
class VocPrecision:
    """VOC's average precision at IoU 0.5 in percent; means are over the classes that have objects.

    Attributes:
        all_points: The area under the curve, as of VOC 2010: precision is made monotonic, and taken at every recall.
        eleven_points: Its mean at recall 0, 0.1, ..., 1, as until VOC 2009.
        by_class: The former for each class; None for a class without objects.
    """

    all_points: float
    eleven_points: float
    by_class: tuple[float | None, ...]


def voc_precision(matches: Matches) -> VocPrecision:
    """Return VOC's average precision."""
    by_class: list[float | None] = []
    areas, eleven = [], []
    for index, count in enumerate(matches.counts.tolist()):
        if not count:
            by_class.append(None)
            continue
        right, precision = precision_curve(matches.of_class(index))
        areas.append(100 * float(precision[np.diff(right, prepend=0) > 0].sum()) / count)
        eleven.append(100 * _eleven_points(right, precision, count))
        by_class.append(areas[-1])
    if not areas:
        return VocPrecision(all_points=0.0, eleven_points=0.0, by_class=tuple(by_class))
    return VocPrecision(
        all_points=float(np.mean(areas)), eleven_points=float(np.mean(eleven)), by_class=tuple(by_class)
    )


def precision_curve(matches: Matches) -> tuple[Integers, Floats]:
    """Return how many of the first detections are right, (D,), and the largest precision of as many or more, (D,)."""
    right = np.cumsum(matches.outcomes == RIGHT)
    precision = right / np.arange(1, len(right) + 1)
    monotonic: Floats = np.maximum.accumulate(precision[::-1])[::-1]
    return right, monotonic


def _eleven_points(right: Integers, precision: Floats, count: int) -> float:
    """Return the mean precision at recall 0, 0.1, ..., 1; 0 where that is not reached."""
    total = 0.0
    for tenth in range(_RECALLS + 1):
        first = int(np.searchsorted(right * _RECALLS, tenth * count))
        total += float(precision[first]) if first < len(precision) else 0.0
    return total / (_RECALLS + 1)
