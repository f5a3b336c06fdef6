"""Where a detector errs: its confusion matrix, precision over recall, and the threshold of scores that is best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..data.objects import BOX, CLASS, KIND, OBJECT, complete
from .detection import Detections
from .matching import IGNORED, MATCH_IOU, RIGHT, WRONG, Floats, Integers, Matches, iou, precision_curve

RECALLS = np.linspace(0, 1, 101)  # of the points of a curve


@dataclass(frozen=True, kw_only=True)
class BestThreshold:
    """The threshold of scores that gives the highest F1, the harmonic mean of precision and recall.

    Attributes:
        threshold: Detections that score more are taken.
        f1: F1 over all classes together, 0 to 1.
    """

    threshold: float
    f1: float


def best_threshold(matches: Matches) -> BestThreshold | None:
    """Return the threshold with the highest F1; None if no detection is right.

    Right and wrong detections of all classes are counted together, and ignored ones not at all. The threshold lies in
    the middle between the lowest score that is taken and the next one.
    """
    counted = matches.take(matches.outcomes != IGNORED)
    right = np.cumsum(counted.outcomes == RIGHT)
    if not right.any():
        return None
    f1 = 2 * right / (np.arange(1, len(right) + 1) + counted.counts.sum())
    next_scores = np.append(counted.scores[1:], 0.0)
    f1[counted.scores == next_scores] = 0  # a threshold takes all detections of one score, or none
    best = int(f1.argmax())
    return BestThreshold(threshold=float(counted.scores[best] + next_scores[best]) / 2, f1=float(f1[best]))


def mean_iou(matches: Matches, threshold: float) -> float | None:
    """Return the mean overlap of the right detections that score more than the threshold; None without any."""
    ious = matches.ious[(matches.outcomes == RIGHT) & (matches.scores > threshold)]
    return float(ious.mean()) if len(ious) else None


def precision_over_recall(matches: Matches) -> dict[int, Floats]:
    """Return the precision, 0 to 1, at every recall of RECALLS, by class; not of classes without objects.

    It is made monotonic, as for VOC's average precision at all points: the precision at a recall is the largest at that
    recall or a higher one, and 0 where the recall is not reached.
    """
    curves = {}
    for index, count in enumerate(matches.counts.tolist()):
        if count:
            right, precision = precision_curve(matches.of_class(index))
            firsts = np.searchsorted(right, RECALLS * count - 1e-9)
            curves[index] = np.append(precision, 0.0)[firsts]
    return curves


def detection_confusion(
    matches: Matches, predictions: Sequence[Detections], objects: Sequence[Tensor], threshold: float
) -> Integers:
    """Return how often objects are taken for others, (classes + 1, classes + 1).

    A row has the objects of a class, a column the boxes of a class. The last row is background, for boxes where there
    is no object; the last column is background as well, for objects that are missed. Counted are boxes that score more
    than the threshold, and objects but crowds and difficult ones.

    Right detections are on the diagonal. Then wrong ones, in descending order of score, are taken for the object of
    another class that they overlap most, by IoU 0.5 at least, and that no detection was taken for. Ignored ones are not
    counted.

    Args:
        matches: What `match` returns for the following two.
        predictions: The detections on every image.
        objects: The true objects (M, 7) on every image.
        threshold: The score that boxes must exceed.
    """
    classes = len(matches.counts)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    confident = matches.take(matches.scores > threshold)
    by_image = np.argsort(confident.images, kind="stable")  # in descending order of score on each image
    limits = np.searchsorted(confident.images[by_image], np.arange(len(objects) + 1))
    for image, (of_image, truth) in enumerate(zip(predictions, objects, strict=True)):
        on_image = confident.take(by_image[limits[image] : limits[image + 1]])
        _count_image(counts, on_image, of_image, complete(truth).double().numpy())
    return counts


def _count_image(counts: Integers, matches: Matches, detected: Detections, truth: Floats) -> None:
    """Add the confusions on an image to the counts."""
    background = len(counts) - 1
    classes = truth[:, CLASS].astype(np.int64)
    is_free = truth[:, KIND] == OBJECT
    right = matches.outcomes == RIGHT
    np.add.at(counts, (matches.classes[right], matches.classes[right]), 1)
    is_free[matches.objects[right]] = False
    wrong = matches.take(matches.outcomes == WRONG)
    overlaps = iou(detected.boxes.double().numpy()[wrong.rows], truth[:, BOX])
    for label, of_detection in zip(wrong.classes, overlaps, strict=True):
        taken_for = _best(np.where(is_free & (classes != label), of_detection, 0.0))
        counts[background if taken_for is None else classes[taken_for], label] += 1
        if taken_for is not None:
            is_free[taken_for] = False
    np.add.at(counts, (classes[is_free], background), 1)


def _best(overlaps: npt.NDArray[np.float64]) -> int | None:
    """Return the index of the largest overlap; None if none is large enough for a match."""
    if not len(overlaps) or overlaps.max() < MATCH_IOU:
        return None
    return int(overlaps.argmax())
