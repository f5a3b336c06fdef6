import json
from contextlib import redirect_stdout
from math import nan

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxes import photograph
from tinynas.data.labels import original_pixels
from tinynas.data.objects import CROWD, DIFFICULT, KIND, OBJECT
from tinynas.data.registry import load_data
from tinynas.tasks.average_precision import average_precision
from tinynas.tasks.detection import Detections
from tinynas.tasks.registry import TASKS

CLASSES = 3
SIZE = (640, 480)  # width and height
PIXELS = 640 * 480
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def random_objects(rng):
    """Objects of an image in pixels, (M, 7): of all kinds, small to large, some twice."""
    count = int(rng.integers(0, 7))
    corners, sides = rng.random((count, 2)) * 300, np.exp(rng.uniform(2, 5.3, (count, 2)))
    areas = sides.prod(1, keepdims=True) * rng.uniform(0.5, 1, (count, 1))
    kinds = rng.choice([OBJECT, CROWD, DIFFICULT], (count, 1), p=[0.7, 0.15, 0.15])
    labels = rng.integers(0, CLASSES, (count, 1))
    objects = np.concatenate([labels, corners, corners + sides, areas, kinds], 1)
    return np.concatenate([objects, objects[:1]]) if rng.random() < 0.1 else objects


def random_detections(rng, objects):
    """Boxes in pixels (K, 4), scores (K,) with ties, and classes (K,), near objects or anywhere; at times over 100."""
    if rng.random() < 0.15:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    are_many = rng.random() < 0.05
    count = int(rng.integers(120, 150)) if are_many else int(rng.integers(0, 15))
    corners = rng.random((count, 2)) * 300
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(2, 5.3, (count, 2)))], 1)
    labels = np.zeros(count, np.int64) if are_many else rng.integers(0, CLASSES, count)
    for row in range(count):
        if len(objects) and rng.random() < 0.75:
            near = objects[rng.integers(len(objects))]
            boxes[row] = near[1:5] + rng.normal(size=4) * rng.choice([0, 2, 8])
            labels[row] = near[0]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = rng.random(count).round(1) if rng.random() < 0.5 else rng.random(count)
    return boxes, scores, labels


def random_case(rng):
    objects = [random_objects(rng) for _ in range(int(rng.integers(1, 5)))]
    return objects, [random_detections(rng, of_image) for of_image in objects]


def ours(objects, detections, pixels=PIXELS):
    scale = torch.tensor([*SIZE, *SIZE]).double()
    truth = []
    for rows in objects:
        rows = torch.from_numpy(rows.copy())
        rows[:, 1:5] /= scale
        truth.append(rows)
    predictions = []
    for boxes, scores, labels in detections:
        predictions.append(
            Detections(torch.from_numpy(boxes) / scale, torch.from_numpy(scores), torch.from_numpy(labels))
        )
    return average_precision(predictions, truth, CLASSES, torch.full((len(truth),), float(pixels)))


def coco_box(box):
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]


def theirs(objects, detections):
    """COCO's evaluation by pycocotools; difficult objects have an area outside of all of its ranges."""
    annotations, results = [], []
    for image, rows in enumerate(objects):
        for label, *box, area, kind in rows.tolist():
            area = 2e10 if kind == DIFFICULT else area
            annotation = {"image_id": image, "category_id": int(label), "bbox": coco_box(box), "area": area}
            annotations.append(annotation | {"id": len(annotations) + 1, "iscrowd": int(kind == CROWD)})
    for image, part in enumerate(detections):
        for box, score, label in zip(*part, strict=True):
            box = coco_box(box)
            result = {"image_id": image, "category_id": int(label), "bbox": box, "score": score, "iscrowd": 0}
            results.append(result | {"id": len(results) + 1, "area": box[2] * box[3]})
    images = [{"id": image, "width": SIZE[0], "height": SIZE[1]} for image in range(len(objects))]
    sides = []
    for rows in (annotations, results):
        side = COCO()
        side.dataset = {"images": images, "annotations": rows, "categories": [{"id": c} for c in range(CLASSES)]}
        side.createIndex()
        sides.append(side)
    evaluation = COCOeval(*sides, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def percent(fraction):
    return None if fraction == -1 else pytest.approx(100 * fraction, abs=1e-6)


def class_means(precision):
    """Mean over the last axis but one of precision (..., recall, class)."""
    return tuple(None if (column == -1).all() else percent(column.mean()) for column in np.moveaxis(precision, -1, 0))


def test_figures_equal_those_of_pycocotools():
    rng = np.random.default_rng(0)
    seen = {
        "ignored only": 0,
        "over 100": 0,
        "without detections": 0,
        "without objects": 0,
        "ties": 0,
        "without all": 0,
    }
    for _ in range(500):
        objects, detections = random_case(rng)
        with redirect_stdout(None):
            evaluation = theirs(objects, detections)
        figures, stats = ours(objects, detections), evaluation.stats
        totals = [figures.map, figures.ap50, figures.ap75, figures.ar]
        assert totals == [percent(max(0, stats[index])) for index in (0, 1, 2, 8)]
        assert figures.ap_by_size == tuple(percent(value) for value in stats[3:6])
        assert figures.ar_by_size == tuple(percent(value) for value in stats[9:12])
        precision = evaluation.eval["precision"][..., 0, -1]  # (IoU, recall, class)
        assert figures.by_class == class_means(precision[0])
        assert figures.map_by_class == class_means(precision)
        scores = np.concatenate([part[1] for part in detections])
        kinds = np.concatenate([rows[:, 6] for rows in objects])
        seen["ignored only"] += len(kinds) > 0 and bool((kinds != OBJECT).all())
        seen["over 100"] += max(len(part[1]) for part in detections) > 100
        seen["without detections"] += any(not len(part[1]) for part in detections)
        seen["without all"] += not len(scores)
        seen["without objects"] += any(not len(rows) for rows in objects)
        seen["ties"] += len(np.unique(scores)) < len(scores)
    assert min(seen.values()) > 4, seen


def coco_folder(root, rng):
    """A folder of COCO's: images of several sizes, objects of all sizes, areas of outlines, crowds."""
    for part, count in (("train", 4), ("val", 40)):
        images, annotations = [], []
        for number in range(count):
            width, height = int(rng.integers(200, 500)), int(rng.integers(200, 500))
            name = f"{part}{number}.jpg"
            photograph(root / part / name, width, height)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for label, *box, area, kind in [*random_objects(rng).tolist(), [0, 5, 5, 90, 90, 6000, OBJECT]]:
                x, y, x2, y2 = np.clip(box, 0, [width, height] * 2).tolist()
                if x2 > x + 1 and y2 > y + 1:
                    record = {"id": len(annotations) + 1, "image_id": number, "category_id": int(label) + 7}
                    record |= {"bbox": [x, y, x2 - x, y2 - y], "area": area, "iscrowd": int(kind == CROWD)}
                    annotations.append(record)
        categories = [{"id": 7 + label, "name": f"class {label}"} for label in range(CLASSES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    return root


def test_figures_of_a_folder_of_cocos_equal_those_of_pycocotools_on_its_file(rng, tmp_path):
    data = load_data(f"coco:{coco_folder(tmp_path, rng)}")
    assert data.classes == ("class 0", "class 1", "class 2")
    assert data.test.labels[:, 1 + KIND].bool().any()
    predictions, results = [], []
    for number, objects in enumerate(data.test.objects):
        height, width = data.test.read.size(number)
        scale = torch.tensor([width, height, width, height]).double()
        truth = objects.double().numpy()
        truth[:, 1:5] *= scale.numpy()
        boxes, scores, labels = random_detections(rng, truth)
        fractions = (torch.from_numpy(boxes) / scale).float()
        predictions.append(Detections(fractions, torch.from_numpy(scores), torch.from_numpy(labels)))
        for box, score, label in zip(fractions.double() * scale, scores, labels, strict=True):
            result = {"image_id": number, "category_id": int(label) + 7, "score": score}
            results.append(result | {"bbox": coco_box(box.tolist())})
    with redirect_stdout(None):
        file = COCO(str(tmp_path / "annotations" / "instances_val.json"))
        evaluation = COCOeval(file, file.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = TASKS["detect"].metrics(predictions, data.test.objects, data.classes, original_pixels(data.test))
    figures, stats = metrics["detection"], evaluation.stats
    assert [metrics["accuracy"], metrics["ap50"], figures.ap75] == [percent(value) for value in stats[:3]]
    assert [figures.ap_small, figures.ap_medium, figures.ap_large] == [percent(value) for value in stats[3:6]]
    assert [figures.ar, figures.ar_small, figures.ar_medium, figures.ar_large] == [percent(v) for v in stats[8:]]
    precision = evaluation.eval["precision"][..., 0, -1]
    assert tuple(metrics["by_class"].values()) == class_means(precision[0])
    assert tuple(figures.ap_by_class.values()) == class_means(precision)
    assert 0 < min(stats) < max(stats) < 1


def box_at(left, top=0.1, side=0.2):
    return [left, top, left + side, top + side]


def detected(*boxes, scores=None):
    scores = torch.tensor(scores or [0.9 - 0.1 * index for index in range(len(boxes))])
    return Detections(torch.tensor(boxes), scores, torch.zeros(len(boxes), dtype=torch.int64))


def test_detections_on_crowds_and_difficult_objects_are_ignored():
    """One object is found, behind detections of a crowd and a difficult object that score more."""
    found, ignored = [0.0, *box_at(0.1), 100, OBJECT], [0.0, *box_at(0.6), 100]
    prediction = detected(box_at(0.6), box_at(0.1))
    precision = {}
    for kind in (OBJECT, CROWD, DIFFICULT):
        precision[kind] = average_precision([prediction], [torch.tensor([found, [*ignored, kind]])], 1).map
    missing = average_precision([prediction], [torch.tensor([found])], 1).map
    assert precision[OBJECT] == precision[CROWD] == precision[DIFFICULT] == pytest.approx(100)
    assert missing == pytest.approx(50)


def test_crowds_take_any_number_of_small_boxes_inside_and_difficult_objects_one_that_fits():
    found = [0.0, *box_at(0.1, 0.7), 100, OBJECT]
    region = [0.0, *box_at(0.1, 0.1, 0.5), 100]
    inside = [box_at(0.15, 0.15, 0.1), box_at(0.3, 0.3, 0.1)]
    prediction = detected(*inside, box_at(0.1, 0.7))
    crowd = average_precision([prediction], [torch.tensor([found, [*region, CROWD]])], 1)
    difficult = average_precision([prediction], [torch.tensor([found, [*region, DIFFICULT]])], 1)
    assert crowd.map == pytest.approx(100)
    assert difficult.map == pytest.approx(100 / 3)
    twice = detected(region[1:5], region[1:5], box_at(0.1, 0.7))
    assert average_precision([twice], [torch.tensor([found, [*region, DIFFICULT]])], 1).map == pytest.approx(50)


def test_classes_without_objects_that_count_have_no_precision():
    """Class 0 has a crowd only, 1 is detected exactly, 2 not at all, 3 has no objects."""
    rows = [[0.0, *box_at(0.1), 9, CROWD], [1.0, *box_at(0.4), 9, OBJECT], [2.0, *box_at(0.7), 9, OBJECT]]
    boxes = torch.tensor([box_at(0.1), box_at(0.4)])
    prediction = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    figures = average_precision([prediction, NOTHING], [torch.tensor(rows), torch.zeros(0, 7)], 4)
    assert figures.by_class == figures.map_by_class == (None, pytest.approx(100), 0.0, None)
    assert (figures.map, figures.ap50, figures.ap75, figures.ar) == (pytest.approx(50),) * 4


def test_without_detections_figures_are_0_and_without_objects_unknown():
    truth = [torch.tensor([[1, *box_at(0.1), 100, OBJECT]]), torch.zeros(0, 7)]
    pixels = torch.tensor([1e4, 1e4])
    figures = average_precision([NOTHING] * 2, truth, 3, pixels)
    assert figures == (0.0, 0.0, 0.0, 0.0, (None, 0.0, None), (None, 0.0, None), (0.0, None, None), (0.0, None, None))
    figures = average_precision([NOTHING] * 2, [torch.zeros(0, 7)] * 2, 2, pixels)
    assert figures == (0.0, 0.0, 0.0, 0.0, (None, None), (None, None), (None,) * 3, (None,) * 3)


def test_sizes_are_in_pixels_of_the_original_image():
    """A wrong box of 0.2 x 0.2 beside an object of 0.2 x 0.2, on images of 100, 300 and 1000 pixels a side."""
    for size, side in enumerate((100, 300, 1000)):
        truth = [torch.tensor([[0, *box_at(0.1)]])]
        prediction = [detected(box_at(0.6), box_at(0.1))]
        figures = average_precision(prediction, truth, 1, torch.tensor([float(side**2)]))
        assert figures.ap_by_size == tuple(pytest.approx(50) if index == size else None for index in range(3))
        assert figures.ar_by_size == tuple(pytest.approx(100) if index == size else None for index in range(3))
        for unknown in (None, torch.tensor([nan])):
            figures = average_precision(prediction, truth, 1, unknown)
            assert figures.ap_by_size == figures.ar_by_size == (None,) * 3
            assert figures.map == pytest.approx(50)


def test_annotated_areas_decide_on_the_size_of_objects():
    small = torch.tensor([[0, *box_at(0.1), 1000, OBJECT]])
    figures = average_precision([detected(box_at(0.1))], [small], 1, torch.tensor([1e6]))
    assert figures.ap_by_size == (pytest.approx(100), None, None), "its box has 40,000 pixels"
