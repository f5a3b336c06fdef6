import pytest
import torch

from tinynas.tasks.detection import Detections
from tinynas.tasks.metrics import average_precision


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
