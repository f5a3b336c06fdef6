from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from tinynas import Supernet, augment, build, load_arch
from tinynas.arch.arch import detector_of
from tinynas.data.base import Batch
from tinynas.tasks.detection import Detections, DetectorWithNMS, anchor_grid, decode, decode_with_nms, detections
from tinynas.tasks.detection_loss import DetectionDistillationLoss, DetectionLoss, assign_anchors
from tinynas.tasks.metrics import average_precision
from tinynas.utils.errors import InputError

CLASSES = 3
OBJECTS = torch.tensor(  # image, class, box
    [[0, 2, 0.1, 0.1, 0.3, 0.4], [0, 0, 0.5, 0.4, 0.95, 0.9], [2, 1, 0.0, 0.0, 0.2, 0.2], [2, 1, 0.9, 0.9, 1.0, 1.0]]
)


@pytest.fixture
def arch(detectors):
    return detectors.max()


def batch_of(arch, objects=OBJECTS, images=3):
    torch.manual_seed(0)
    return Batch(torch.randn(images, 1, arch.resolution, arch.resolution), objects, torch.arange(images), 0)


def loss_of(arch, batch, label_smoothing=0.0):
    """The detection loss on a batch, as a function of outputs."""
    loss = DetectionLoss(arch.detector, label_smoothing)
    targets = loss.targets(batch)
    return lambda outputs: loss(outputs, targets)


def perfect(arch, objects, images=3):
    """Outputs that say exactly what the objects are, at every prediction that is assigned to one."""
    at = anchor_grid(arch.detector, arch.resolution)
    outputs = torch.zeros(images, len(at.cell), 5 + CLASSES)
    outputs[..., 4:] = -12
    chosen, which = assign_anchors(objects, at)
    for place, row in zip(chosen, objects[which], strict=True):
        centre, sides = (row[2:4] + row[4:6]) / 2, row[4:6] - row[2:4]
        inside = ((centre - at.corner[place]) / at.cell[place] + 0.5) / 2
        outputs[int(row[0]), place, :2] = inside.clamp(1e-6, 1 - 1e-6).logit()
        outputs[int(row[0]), place, 2:4] = (((sides - 1e-3) / at.anchor[place]).sqrt() / 2).clamp(max=1 - 1e-6).logit()
        outputs[int(row[0]), place, 4] = outputs[int(row[0]), place, 5 + int(row[1])] = 12
    return outputs


def test_outputs_are_where_the_places_say(detectors, rng):
    for arch in [detectors.min(), detectors.max(), *(detectors.sample(rng) for _ in range(5))]:
        outputs = build(arch)(torch.zeros(2, 1, arch.resolution, arch.resolution))
        at = anchor_grid(arch.detector, arch.resolution)
        assert outputs.shape == (2, len(at.cell), 5 + arch.classes)
        assert all(len(part) == len(at.cell) for part in at)


def test_a_change_in_a_corner_is_seen_at_its_places(arch):
    """Rows and columns are not mixed up."""
    torch.manual_seed(1)
    arch = replace(arch, resolution=256)
    net = build(arch).eval()
    images = torch.zeros(1, 1, 256, 256)
    with torch.no_grad():
        before = net(images)
        images[:, :, 192:, :48] = 5  # left, bottom
        changed = (net(images) - before).abs().sum(-1)[0]
    at = anchor_grid(arch.detector, 256)
    fine = at.corner[at.cell[:, 0] == at.cell.min()]
    most = changed[: len(fine)].argmax()
    corner = fine[most]
    assert corner[0] < 0.3
    assert corner[1] > 0.6


def test_what_the_objects_ask_for_decodes_to_them(arch):
    found = detections(perfect(arch, OBJECTS), arch.detector, arch.resolution, threshold=0.5)
    assert [len(one.boxes) for one in found] == [2, 0, 2]
    for i, one in enumerate(found):
        objects = OBJECTS[OBJECTS[:, 0] == i]
        for label, box in zip(objects[:, 1], objects[:, 2:], strict=True):
            overlaps = box_iou(box[None], one.boxes)[0]
            assert overlaps.max() > 0.99
            assert one.classes[overlaps.argmax()] == label


def test_the_loss_of_boxes_without_a_side_has_a_gradient(arch):
    outputs = torch.full((3, len(anchor_grid(arch.detector, arch.resolution).cell), 8), -40.0, requires_grad=True)
    loss_of(arch, batch_of(arch))(outputs).backward()
    assert outputs.grad.isfinite().all()


def test_the_loss_is_least_for_the_truth(arch):
    loss, truth = loss_of(arch, batch_of(arch)), perfect(arch, OBJECTS)
    assert loss(truth) < 1e-2
    for part in (slice(0, 2), slice(2, 4), 4, slice(5, None)):
        worse = truth.clone()
        worse[..., part] *= 1 - 2 * torch.rand(worse[..., part].shape)
        assert loss(worse) > loss(truth) + 0.01, part
    assert loss_of(arch, batch_of(arch), 0.1)(truth) > loss(truth)


def test_images_without_objects_ask_for_none(arch):
    batch = batch_of(arch, torch.zeros(0, 6))
    outputs = build(arch)(batch.images)
    loss = loss_of(arch, batch)(outputs)
    loss.backward()
    quiet = torch.full_like(outputs, -20.0)
    assert loss_of(arch, batch)(quiet) < 1e-3 < loss


def test_every_object_has_the_anchor_nearest_to_its_shape(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    chosen, which = assign_anchors(OBJECTS, at)
    assert set(which.tolist()) == {0, 1, 2, 3}
    assert len({(int(p), int(w)) for p, w in zip(chosen, which, strict=True)}) == len(chosen), "none twice"
    for row, objects in enumerate(OBJECTS):
        sides = objects[4:6] - objects[2:4]
        anchors = torch.tensor(arch.detector.anchors).view(-1, 2)
        shape = torch.cat([torch.zeros(len(anchors), 2), anchors], 1)
        best = anchors[box_iou(torch.cat([torch.zeros(2), sides])[None], shape)[0].argmax()]
        assert any(torch.equal(at.anchor[place], best) for place in chosen[which == row])
        for place in chosen[which == row]:  # its centre is at most half a cell away
            centre = (objects[2:4] + objects[4:6]) / 2
            middle = at.corner[place] + at.cell[place] / 2
            assert ((centre - middle).abs() <= at.cell[place] * 1.0001).all()


def test_an_object_at_the_edge_stays_in_the_grid(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    for box in ([0.98, 0.98, 1.0, 1.0], [0.0, 0.0, 0.01, 0.01], [0.0, 0.99, 1.0, 1.0]):
        chosen, _ = assign_anchors(torch.tensor([[0, 0, *box]]), at)
        assert len(chosen) >= 1
        assert 0 <= chosen.min() <= chosen.max() < len(at.cell)


def test_overlapping_boxes_of_a_class_become_one(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    outputs = perfect(arch, OBJECTS[:1])[0]
    one = decode_with_nms(outputs, at, threshold=0.5)
    assert len(one.boxes) == 1
    other = outputs.clone()
    place = outputs[:, 4].argmax()
    other[place, 5:] = 12  # all classes at once: these do not suppress one another
    assert sorted(decode_with_nms(other, at, threshold=0.5).classes.tolist()) == [0, 1, 2]
    assert (one.boxes >= 0).all()
    assert (one.boxes <= 1).all()
    module = DetectorWithNMS(torch.nn.Identity(), arch)
    assert all(torch.equal(a, b) for a, b in zip(module(outputs[None]), decode_with_nms(outputs, at), strict=True))


def test_who_answers_like_the_teacher_has_learned(arch):
    theirs = torch.randn(2, 20, 8)
    own = theirs.clone().requires_grad_()
    distillation_loss = DetectionDistillationLoss(temperature=2.0)
    targets = distillation_loss.targets(theirs)
    loss = distillation_loss(own, targets)
    loss.backward()
    assert own.grad.abs().max() < 1e-6
    assert distillation_loss(torch.randn(2, 20, 8), targets) > loss


def test_a_detector_learns_boxes(detectors):
    """A few images by heart."""
    arch = detectors.max()
    torch.manual_seed(0)
    batch = batch_of(arch, images=3)
    for image, label, *box in OBJECTS.tolist():
        left, top, right, bottom = (round(side * arch.resolution) for side in box)
        batch.images[int(image), 0, top:bottom, left:right] += 3 * (label + 1)
    net = build(arch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    loss = loss_of(arch, batch)
    for _ in range(400):
        optimizer.zero_grad()
        loss(net(batch.images)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
    found = detections(net(batch.images).detach(), arch.detector, arch.resolution)
    truth = [OBJECTS[OBJECTS[:, 0] == i, 1:] for i in range(3)]
    assert average_precision(found, truth, CLASSES).ap50 > 90


def random_predictions(rng, images=40):
    found, truth = [], []
    for _ in range(images):
        count = int(rng.integers(0, 5))
        corner, sides = torch.from_numpy(rng.random((count, 2)) * 0.7), torch.from_numpy(rng.random((count, 2)) * 0.3)
        objects = torch.cat([torch.from_numpy(rng.integers(0, 3, (count, 1))), corner, corner + sides + 0.02], 1)
        noise = torch.from_numpy(rng.normal(size=(3 * count, 4))) * 0.03
        boxes = (objects[:, 1:].repeat(3, 1) + noise).clamp(0, 1)
        scores = torch.from_numpy(rng.random(3 * count))
        found.append(Detections(boxes, scores, objects[:, 0].repeat(3).long()))
        truth.append(objects)
    return found, truth


def test_average_precision_is_pycocotools(rng, capsys):
    """The same predictions, in pixels of images that are no squares, counted by another library."""
    from pycocotools import coco
    from pycocotools import cocoeval as evaluation

    found, truth = random_predictions(rng)
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
        for i, one in enumerate(found)
        for box, score, c in zip(*one, strict=True)
    ]
    count = evaluation.COCOeval(theirs, theirs.loadRes(guesses), "bbox")
    count.evaluate()
    count.accumulate()
    count.summarize()
    ours = average_precision(found, truth, 3)
    assert ours.map == pytest.approx(100 * count.stats[0], abs=0.05)
    assert ours.ap50 == pytest.approx(100 * count.stats[1], abs=0.05)
    assert 5 < ours.map < ours.ap50 < 95


def test_average_precision_at_its_ends():
    truth = [torch.tensor([[1, 0.1, 0.1, 0.5, 0.5]]), torch.zeros(0, 5)]
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))
    exact = Detections(truth[0][:, 1:], torch.tensor([0.9]), torch.tensor([1]))
    assert average_precision([nothing, nothing], truth, 2).map == 0
    assert average_precision([exact, nothing], truth, 2).map == pytest.approx(100)
    wrong_class = exact._replace(classes=torch.tensor([0]))
    assert average_precision([wrong_class, nothing], truth, 2).ap50 == 0


@pytest.mark.parametrize("name", ["mobilenet-v2-tiny", "mcunet-in3", "mobilenet-v3-large-w0.35"])
def test_classifiers_become_detectors_around_their_backbone(name):
    classifier = replace(load_arch(name), classes=20)
    detector = detector_of(classifier)
    assert (detector.task, detector.stages, detector.stem) == ("detect", classifier.stages, classifier.stem)
    assert detector_of(detector) == detector
    theirs, ours = build(classifier), Supernet(augment(detector, width=[1], expand=[1]))
    ours.adopt(theirs, leave_out="head.")
    assert torch.equal(ours.net.stages[2][0].project.conv.weight, theirs.stages[2][0].project.conv.weight)
    assert augment(detector).min() == detector


def test_a_network_without_the_strides_is_no_detector(space):
    with pytest.raises(InputError, match=r"stages of stride 16 and, the last, 32` must hold, but got \(strides=\["):
        detector_of(space.max())


def test_boxes_of_anchors_have_their_shape(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    boxes = decode(torch.zeros(1, len(at.cell), 8), at)[0]
    assert torch.allclose(boxes[:, 2:] - boxes[:, :2], at.anchor + 1e-3)
    assert torch.allclose((boxes[:, 2:] + boxes[:, :2]) / 2, at.corner + at.cell / 2)


@pytest.mark.parametrize("resolution", [64, 80, 96, 112])
def test_cells_are_where_the_feature_maps_have_them(arch, resolution):
    """At every image size a stride apart: a coarse cell begins where two fine ones do."""
    at, head = anchor_grid(arch.detector, resolution), arch.detector
    fine, coarse = -(-resolution // 16), -(-resolution // 32)
    corners = at.corner[: fine**2].view(fine, fine, 2)
    below = at.corner[head.per_cell * fine**2 :][: coarse**2].view(coarse, coarse, 2)
    assert torch.allclose(corners[::2, ::2], below)
    assert torch.allclose(corners[1, 1] - corners[0, 0], torch.tensor([16 / resolution] * 2))
    assert torch.allclose(at.cell[0] * resolution, torch.tensor([16.0]))
    assert torch.allclose(at.cell[-1] * resolution, torch.tensor([32.0]))
