import pytest
import torch

from tinynas.tasks.detection import Detections
from tinynas.tasks.metrics import accuracy_by_class, average_precision, confusion, mean_accuracy
from tinynas.tasks.registry import TASKS


def random_predictions(rng, images=40):
    detected, truth = [], []
    for _ in range(images):
        count = int(rng.integers(0, 5))
        corner, sides = torch.from_numpy(rng.random((count, 2)) * 0.7), torch.from_numpy(rng.random((count, 2)) * 0.3)
        objects = torch.cat([torch.from_numpy(rng.integers(0, 3, (count, 1))), corner, corner + sides + 0.02], 1)
        noise = torch.from_numpy(rng.normal(size=(3 * count, 4))) * 0.03
        boxes = (objects[:, 1:].repeat(3, 1) + noise).clamp(0, 1)
        scores = torch.from_numpy(rng.random(3 * count))
        detected.append(Detections(boxes, scores, objects[:, 0].repeat(3).long()))
        truth.append(objects)
    return detected, truth


def test_average_precision_equals_pycocotools(rng, capsys):
    """The same predictions, in pixels of images that are no squares, counted by another library."""
    from pycocotools import coco
    from pycocotools import cocoeval as evaluation

    detected, truth = random_predictions(rng)
    scale = torch.tensor([640, 480, 640, 480])

    def pixels(box):
        left, top, right, bottom = (box * scale).tolist()
        return [left, top, right - left, bottom - top]

    images = [{"id": i, "width": 640, "height": 480} for i in range(len(truth))]
    rows = [(i, row) for i, objects in enumerate(truth) for row in objects]
    annotations = [
        {"id": n + 1, "image_id": i, "category_id": int(row[0]), "bbox": pixels(row[1:]), "iscrowd": 0, "area": 1000}
        for n, (i, row) in enumerate(rows)
    ]
    theirs = coco.COCO()
    theirs.dataset = {"images": images, "annotations": annotations, "categories": [{"id": c} for c in range(3)]}
    theirs.createIndex()
    guesses = [
        {"image_id": i, "category_id": int(c), "bbox": pixels(box), "score": float(score)}
        for i, image in enumerate(detected)
        for box, score, c in zip(*image, strict=True)
    ]
    count = evaluation.COCOeval(theirs, theirs.loadRes(guesses), "bbox")
    count.evaluate()
    count.accumulate()
    count.summarize()
    ours = average_precision(detected, truth, 3)
    assert ours.map == pytest.approx(100 * count.stats[0], abs=0.05)
    assert ours.ap50 == pytest.approx(100 * count.stats[1], abs=0.05)
    assert 5 < ours.map < ours.ap50 < 95


def test_average_precision_at_its_extremes():
    truth = [torch.tensor([[1, 0.1, 0.1, 0.5, 0.5]]), torch.zeros(0, 5)]
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))
    exact = Detections(truth[0][:, 1:], torch.tensor([0.9]), torch.tensor([1]))
    assert average_precision([nothing, nothing], truth, 2).map == 0
    assert average_precision([exact, nothing], truth, 2).map == pytest.approx(100)
    wrong_class = exact._replace(classes=torch.tensor([0]))
    assert average_precision([wrong_class, nothing], truth, 2).ap50 == 0


def test_average_precision_leaves_classes_without_objects_out():
    """Class 0 has no objects; class 1 is detected exactly, class 2 not at all."""
    truth = [torch.tensor([[1, 0.1, 0.1, 0.5, 0.5]]), torch.tensor([[2, 0.1, 0.1, 0.5, 0.5]])]
    boxes = truth[0][:, 1:].repeat(2, 1)
    exact = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 0]))
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))
    precision = average_precision([exact, nothing], truth, 3)
    assert precision.by_class == (None, pytest.approx(100), 0.0)
    assert (precision.map, precision.ap50) == (pytest.approx(50), pytest.approx(50))


def test_average_precision_without_detections_is_0_for_classes_with_objects():
    truth = [torch.tensor([[1, 0.1, 0.1, 0.5, 0.5]]), torch.zeros(0, 5)]
    nothing = [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))] * 2
    assert average_precision(nothing, truth, 3) == (0.0, 0.0, (None, 0.0, None))
    assert average_precision(nothing, [torch.zeros(0, 5)] * 2, 2) == (0.0, 0.0, (None, None))


def test_balanced_accuracy_equals_scikit_learn(rng):
    from sklearn.metrics import balanced_accuracy_score

    labels = torch.from_numpy(rng.choice(4, 200, p=[0.7, 0.2, 0.1, 0.0]))
    predicted = torch.from_numpy(rng.choice(4, 200, p=[0.5, 0.3, 0.2, 0.0]))
    by_class = accuracy_by_class(confusion(predicted, labels, 4))
    assert by_class[3] is None
    assert mean_accuracy(by_class) == pytest.approx(100 * balanced_accuracy_score(labels, predicted))


def test_classification_metrics_of_uneven_classes():
    """Eight cats of ten images, and a network that knows cats only."""
    truths = [0] * 8 + [1] * 2
    metrics = TASKS["classify"].metrics([0] * 10, truths, ("cat", "dog", "fox"))
    assert metrics["accuracy"] == 80.0
    assert metrics["balanced_accuracy"] == 50.0
    assert metrics["by_class"] == {"cat": 100.0, "dog": 0.0, "fox": None}
    assert metrics["chance"] == TASKS["classify"].chance(torch.tensor(truths), ("cat", "dog", "fox"))
    assert metrics["chance"].explains(metrics["accuracy"])
