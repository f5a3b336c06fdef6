from itertools import pairwise

import numpy as np
import pytest
import torch

from boxes import detected, object_rows
from tinynas.data.objects import CROWD, DIFFICULT, OBJECT
from tinynas.tasks.detection import Detections
from tinynas.tasks.matching import IGNORED, RIGHT, WRONG, match, voc_precision

LEFT, MIDDLE, RIGHT_SIDE = [0.0, 0.0, 0.25, 0.25], [0.375, 0.0, 0.625, 0.25], [0.75, 0.0, 1.0, 0.25]
LEFT_HALF = [0.0, 0.0, 0.125, 0.25]  # IoU 0.5 with LEFT
LEFT_QUARTER = [0.0, 0.0, 0.0625, 0.25]


def outcomes(prediction, truth):
    """The outcomes in the order of the detections on the only image."""
    matches = match([prediction], [truth], 2)
    return matches.outcomes[np.argsort(matches.rows)].tolist()


@pytest.mark.parametrize(
    ("objects", "boxes", "expected"),
    [
        # an object and its first detection; a second one of the same object is wrong
        ([(0, LEFT, OBJECT)], [(0, LEFT, 0.9)], [RIGHT]),
        ([(0, LEFT, OBJECT)], [(0, LEFT, 0.8), (0, LEFT, 0.9)], [WRONG, RIGHT]),
        ([(0, LEFT, OBJECT)], [(0, LEFT, 0.9), (0, LEFT, 0.9)], [RIGHT, WRONG]),
        # IoU 0.5 is enough; of other classes there is none
        ([(0, LEFT, OBJECT)], [(0, LEFT_HALF, 0.9)], [RIGHT]),
        ([(0, LEFT, OBJECT)], [(0, LEFT_QUARTER, 0.9)], [WRONG]),
        ([(0, LEFT, OBJECT)], [(1, LEFT, 0.9)], [WRONG]),
        ([], [(0, LEFT, 0.9)], [WRONG]),
        # any number of detections of a difficult object is ignored
        ([(0, LEFT, DIFFICULT)], [(0, LEFT, 0.9), (0, LEFT, 0.8), (0, MIDDLE, 0.7)], [IGNORED, IGNORED, WRONG]),
        ([(0, LEFT, DIFFICULT)], [(0, LEFT_QUARTER, 0.9)], [WRONG]),
        ([(0, LEFT, DIFFICULT)], [(1, LEFT, 0.9)], [WRONG]),
        # the object that is overlapped most decides, though another one is overlapped enough
        ([(0, LEFT, DIFFICULT), (0, LEFT_HALF, OBJECT)], [(0, LEFT, 0.9)], [IGNORED]),
        ([(0, LEFT, OBJECT), (0, LEFT_HALF, DIFFICULT)], [(0, LEFT, 0.9)], [RIGHT]),
        ([(0, LEFT, OBJECT), (0, LEFT_HALF, OBJECT)], [(0, LEFT, 0.9), (0, LEFT, 0.8)], [RIGHT, WRONG]),
        # crowds: what is wrong otherwise is ignored if half of it lies in one
        (
            [(0, LEFT, CROWD)],
            [(0, LEFT_QUARTER, 0.9), (0, LEFT_QUARTER, 0.9), (0, MIDDLE, 0.9)],
            [IGNORED, IGNORED, WRONG],
        ),
        ([(0, LEFT, CROWD)], [(1, LEFT_QUARTER, 0.9)], [WRONG]),
        ([(0, LEFT_HALF, CROWD)], [(0, LEFT, 0.9)], [IGNORED]),
        ([(0, LEFT_QUARTER, CROWD)], [(0, LEFT, 0.9)], [WRONG]),
        ([(0, LEFT, OBJECT), (0, LEFT, CROWD)], [(0, LEFT, 0.8), (0, LEFT, 0.9)], [IGNORED, RIGHT]),
    ],
)
def test_outcomes_of_detections(objects, boxes, expected):
    assert outcomes(detected(*boxes), object_rows(*objects)) == expected


def test_matches_are_in_descending_order_of_score_over_all_images():
    first = detected((0, LEFT_HALF, 0.5), (1, MIDDLE, 0.9))
    second = detected((0, LEFT, 0.7))
    truth = [
        object_rows((1, RIGHT_SIDE, OBJECT), (0, LEFT, OBJECT)),
        object_rows((0, LEFT, DIFFICULT), (1, MIDDLE, OBJECT)),
    ]
    matches = match([first, second, detected()], [*truth, object_rows()], 3)
    assert matches.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert matches.images.tolist() == [0, 1, 0]
    assert matches.rows.tolist() == [1, 0, 0]
    assert matches.classes.tolist() == [1, 0, 0]
    assert matches.outcomes.tolist() == [WRONG, IGNORED, RIGHT]
    assert matches.objects.tolist() == [-1, -1, 1]
    assert matches.ious.tolist() == pytest.approx([0, 0, 0.5])
    assert matches.counts.tolist() == [1, 2, 0]


def test_voc_precision_of_a_worked_example():
    """Four objects, and detections that are right, wrong, right, ignored, wrong and right, in this order.

    Precision at recall 1/4, 2/4 and 3/4 is 1, 2/3 and 3/5; a detection more is on a difficult object. At 11 points it
    is 1 at 0, 0.1 and 0.2, 2/3 up to 0.5, 3/5 up to 0.7, and 0 from 0.8 on.
    """
    objects = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT), (0, RIGHT_SIDE, DIFFICULT))
    other = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT))
    first = detected((0, LEFT, 0.9), (0, LEFT, 0.8), (0, MIDDLE, 0.7), (0, RIGHT_SIDE, 0.6))
    second = detected((0, RIGHT_SIDE, 0.5), (0, MIDDLE, 0.4))
    precision = voc_precision(match([first, second], [objects, other], 2))
    assert precision.all_points == pytest.approx(100 * (1 + 2 / 3 + 3 / 5) / 4)
    assert precision.eleven_points == pytest.approx(100 * (3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)
    assert precision.by_class == (pytest.approx(precision.all_points), None)


def test_voc_precision_is_made_monotonic():
    """Wrong, right, right: precision is 1/2 at recall 1/2 and 2/3 at recall 1, so 2/3 at both."""
    truth = object_rows((0, LEFT, OBJECT), (0, MIDDLE, OBJECT))
    prediction = detected((0, RIGHT_SIDE, 0.9), (0, LEFT, 0.8), (0, MIDDLE, 0.7))
    precision = voc_precision(match([prediction], [truth], 1))
    assert (precision.all_points, precision.eleven_points) == (pytest.approx(200 / 3),) * 2


def test_voc_precision_reaches_tenths_of_recall_exactly():
    """Ten objects, of which three are detected: 0.3 is reached, though 3 / 10 < 3 * 0.1 as floats."""
    boxes = [[0.1 * number, 0.0, 0.1 * number + 0.05, 0.1] for number in range(10)]
    truth = object_rows(*[(0, box, OBJECT) for box in boxes])
    prediction = detected(*[(0, box, 0.9) for box in boxes[:3]])
    assert voc_precision(match([prediction], [truth], 1)).eleven_points == pytest.approx(400 / 11)


def test_voc_precision_without_detections_or_objects():
    nothing = match([detected()], [object_rows((1, LEFT, OBJECT), (0, LEFT, DIFFICULT))], 3)
    precision = voc_precision(nothing)
    assert (precision.all_points, precision.eleven_points, precision.by_class) == (0, 0, (None, 0, None))
    empty = voc_precision(match([detected((0, LEFT, 0.9))], [object_rows()], 2))
    assert (empty.all_points, empty.eleven_points, empty.by_class) == (0, 0, (None, None))


def development_kit(predictions, objects, label):
    """Average precision at all points and at 11, as VOC's development kit computes them, in a loop."""
    detections, taken, count = [], set(), 0
    for image, (prediction, truth) in enumerate(zip(predictions, objects, strict=True)):
        count += int(((truth[:, 0] == label) & (truth[:, 6] == OBJECT)).sum())
        for box, score, of_class in zip(*map(torch.Tensor.tolist, prediction), strict=True):
            if of_class == label:
                detections.append((score, image, box))
    hits = []
    for _, image, (left, top, right, bottom) in sorted(detections, key=lambda entry: -entry[0]):
        best, chosen = 0.0, None
        for index, (of_class, x1, y1, x2, y2, _, kind) in enumerate(objects[image].tolist()):
            shared = max(0, min(right, x2) - max(left, x1)) * max(0, min(bottom, y2) - max(top, y1))
            overlap = shared / ((right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared)
            if of_class == label and overlap > best:
                best, chosen = overlap, (image, index, kind)
        if best >= 0.5 and chosen[2] == DIFFICULT:
            continue
        hits.append(best >= 0.5 and chosen not in taken)
        if hits[-1]:
            taken.add(chosen)
    points = [(0.0, 0.0)]
    for number in range(1, len(hits) + 1):
        points.append((sum(hits[:number]) / count, sum(hits[:number]) / number))
    eleven = [max((p for r, p in points if r >= tenth / 10 - 1e-9), default=0) for tenth in range(11)]
    area = 0.0
    for (before, _), (recall, _) in pairwise(points):
        area += (recall - before) * max(p for r, p in points if r >= recall)
    return 100 * area, 100 * sum(eleven) / 11


def test_voc_precision_equals_the_development_kits_on_random_cases(rng):
    averages = []
    for _ in range(60):
        objects, predictions = [], []
        for _ in range(3):
            count = int(rng.integers(0, 6))
            corners = rng.random((count, 2)) * 0.7
            boxes = np.concatenate([corners, corners + 0.05 + rng.random((count, 2)) * 0.2], 1)
            kinds = rng.choice([OBJECT, DIFFICULT], (count, 1), p=[0.7, 0.3])
            labels = rng.integers(0, 2, (count, 1))
            areas = np.ones((count, 1))
            objects.append(torch.from_numpy(np.concatenate([labels, boxes, areas, kinds], 1)))
            near = boxes.repeat(3, 0) + rng.normal(size=(3 * count, 4)) * 0.015
            scores = rng.random(3 * count).round(1)
            predictions.append(Detections(*map(torch.from_numpy, (near, scores, labels.repeat(3)))))
        precision = voc_precision(match(predictions, objects, 2))
        expected = [
            development_kit(predictions, objects, label)
            for label, ap in enumerate(precision.by_class)
            if ap is not None
        ]
        all_points, eleven = np.array(expected).reshape(-1, 2).T
        assert [ap for ap in precision.by_class if ap is not None] == pytest.approx(all_points)
        assert precision.eleven_points == pytest.approx(eleven.mean() if len(eleven) else 0)
        averages.append(precision.all_points)
    assert 10 < np.mean(averages) < 90
