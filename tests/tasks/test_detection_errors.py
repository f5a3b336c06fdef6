import numpy as np
import pytest

from boxes import detected, object_rows
from tinynas.data.objects import CROWD, DIFFICULT, OBJECT
from tinynas.tasks.detection_errors import (
    RECALLS,
    best_threshold,
    detection_confusion,
    mean_iou,
    precision_over_recall,
)
from tinynas.tasks.matching import match, voc_precision

LEFT, MIDDLE, RIGHT_SIDE = [0.0, 0.0, 0.25, 0.25], [0.375, 0.0, 0.625, 0.25], [0.75, 0.0, 1.0, 0.25]
LEFT_HALF = [0.0, 0.0, 0.125, 0.25]  # IoU 0.5 with LEFT
BELOW = [0.0, 0.5, 0.25, 0.75]


def confusion_of(truth, prediction, threshold=0.25, classes=2):
    matches = match([prediction], [truth], classes)
    return detection_confusion(matches, [prediction], [truth], threshold).tolist()


@pytest.mark.parametrize(
    ("objects", "boxes", "expected"),
    [
        (
            [(0, LEFT, OBJECT), (1, MIDDLE, OBJECT)],
            [(0, LEFT, 0.9), (1, MIDDLE, 0.4)],
            [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        ),
        # taken for another class; missed; nothing there
        ([(0, LEFT, OBJECT)], [(1, LEFT, 0.9)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ([(0, LEFT, OBJECT)], [], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([(0, LEFT, OBJECT)], [(0, LEFT, 0.25)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([], [(1, LEFT, 0.9)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
        ([(0, LEFT, OBJECT)], [(1, MIDDLE, 0.9)], [[0, 0, 1], [0, 0, 0], [0, 1, 0]]),
        # the right detection comes first, whatever it scores; the other one, and a second of the class, are background
        ([(0, LEFT, OBJECT)], [(1, LEFT, 0.9), (0, LEFT, 0.5)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        ([(0, LEFT, OBJECT)], [(0, LEFT, 0.9), (0, LEFT, 0.5)], [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
        # an object is taken for one other
        ([(0, LEFT, OBJECT)], [(1, LEFT, 0.9), (1, LEFT, 0.8)], [[0, 1, 0], [0, 0, 0], [0, 1, 0]]),
        # the overlap decides which one: both are overlapped enough
        ([(1, LEFT_HALF, OBJECT), (1, LEFT, OBJECT)], [(0, LEFT, 0.9)], [[0, 0, 0], [1, 0, 1], [0, 0, 0]]),
        # ignored: not counted, neither as boxes nor as objects
        ([(0, LEFT, DIFFICULT), (0, MIDDLE, CROWD)], [(0, LEFT, 0.9), (0, MIDDLE, 0.8)], [[0] * 3] * 3),
        ([(0, LEFT, DIFFICULT)], [], [[0] * 3] * 3),
        ([(0, LEFT, DIFFICULT)], [(1, LEFT, 0.9)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)
def test_confusion_of_an_image(objects, boxes, expected):
    assert confusion_of(object_rows(*objects), detected(*boxes)) == expected


def test_confusion_adds_up_objects_and_confident_boxes_of_all_images(rng):
    truths, predictions = [], []
    for _ in range(30):
        labels = rng.integers(0, 3, 4)
        places = [LEFT, MIDDLE, RIGHT_SIDE, BELOW]
        truths.append(
            object_rows(*[(label, box, OBJECT) for label, box in zip(labels, places, strict=True)][: rng.integers(5)])
        )
        boxes = [(int(rng.integers(3)), places[rng.integers(4)], float(rng.random())) for _ in range(rng.integers(8))]
        predictions.append(detected(*boxes))
    matches = match(predictions, truths, 3)
    counts = detection_confusion(matches, predictions, truths, 0.4)
    assert counts[:3].sum(1).tolist() == matches.counts.tolist()
    confident = np.concatenate([p.classes.numpy()[p.scores.numpy() > 0.4] for p in predictions])
    assert counts[:, :3].sum(0).tolist() == np.bincount(confident, minlength=3).tolist()
    assert counts[3, 3] == 0
    assert counts[:3, :3].trace() > 0
    assert counts[:3, :3].sum() > counts[:3, :3].trace()


def test_best_threshold_takes_the_detections_with_the_highest_f1():
    """Of three objects two are found, then two wrong, then the last: F1 is 2/4, 4/5, 4/6, 4/7 and 6/8."""
    truth = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT), (1, RIGHT_SIDE, OBJECT), (1, BELOW, DIFFICULT))
    boxes = [(0, LEFT, 0.875), (0, MIDDLE, 0.75), (0, BELOW, 0.5), (1, LEFT, 0.375), (1, RIGHT_SIDE, 0.25)]
    ignored = [(1, BELOW, 0.99), (1, BELOW, 0.6)]
    best = best_threshold(match([detected(*boxes, *ignored)], [truth], 2))
    assert (best.threshold, best.f1) == (0.625, pytest.approx(4 / 5))
    best = best_threshold(match([detected(*boxes[:2])], [truth], 2))
    assert (best.threshold, best.f1) == (0.375, pytest.approx(4 / 5)), "half of the lowest score"


def test_best_threshold_takes_all_detections_of_one_score():
    """A right one and three wrong ones have one score: without these F1 would be 4/4 instead of 4/7."""
    truth = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT))
    boxes = [(0, LEFT, 0.75), (0, MIDDLE, 0.5), (0, BELOW, 0.5), (0, BELOW, 0.5), (0, BELOW, 0.5)]
    best = best_threshold(match([detected(*boxes)], [truth], 1))
    assert (best.threshold, best.f1) == (0.625, pytest.approx(2 / 3))


def test_best_threshold_of_no_right_detection_is_unknown():
    assert best_threshold(match([detected((0, LEFT, 0.9))], [object_rows((0, MIDDLE, OBJECT))], 1)) is None
    assert best_threshold(match([detected()], [object_rows()], 1)) is None


def test_mean_iou_is_of_right_detections_above_the_threshold():
    truth = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT))
    matches = match([detected((0, LEFT_HALF, 0.75), (0, MIDDLE, 0.5), (0, BELOW, 0.9))], [truth], 1)
    assert mean_iou(matches, 0.25) == pytest.approx(0.75)
    assert mean_iou(matches, 0.5) == pytest.approx(0.5)
    assert mean_iou(matches, 0.75) is None


def test_precision_over_recall_is_the_curve_of_vocs_precision():
    truth = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT), (1, BELOW, CROWD))
    prediction = detected((0, LEFT, 0.9), (0, BELOW, 0.8), (0, MIDDLE, 0.7), (1, LEFT, 0.6))
    matches = match([prediction], [truth], 3)
    curves = precision_over_recall(matches)
    assert list(curves) == [0]
    assert curves[0].tolist() == pytest.approx([1.0] * 51 + [2 / 3] * 50)
    assert curves[0][:-1].mean() * 100 == pytest.approx(voc_precision(matches).all_points, abs=1)
    missed = precision_over_recall(match([detected((0, LEFT, 0.9))], [truth], 3))
    assert missed[0].tolist() == [1.0] * 51 + [0.0] * 50
    assert len(RECALLS) == 101
