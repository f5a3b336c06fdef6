from dataclasses import replace

import pytest
import torch

from boxes import NUM_CLASSES, OBJECTS, detection_batch, perfect_outputs
from tinynas import build
from tinynas.tasks.average_precision import average_precision
from tinynas.tasks.detection import detections, positions_of
from tinynas.tasks.detection_loss import DetectionDistillationLoss, DetectionLoss
from tinynas.tasks.registry import TASKS
from tinynas.utils.errors import InputError


def loss_of(arch, batch, label_smoothing=0.0):
    """The detection loss on a batch, as a function of outputs."""
    loss = DetectionLoss(arch, label_smoothing)
    targets = loss.targets(batch)
    return lambda outputs: loss(outputs, targets)


def test_detection_loss_of_boxes_without_a_side_has_a_gradient(arch):
    outputs = torch.full((3, len(positions_of(arch, arch.resolution).centre), 7), -40.0, requires_grad=True)
    loss_of(arch, detection_batch(arch))(outputs).backward()
    assert outputs.grad.isfinite().all()


def test_detection_loss_is_least_for_the_truth(arch):
    loss, truth = loss_of(arch, detection_batch(arch)), perfect_outputs(arch, OBJECTS)
    assert loss(truth) < 1e-2
    for part in (slice(0, 2), slice(2, 4), slice(4, None)):
        worse = truth.clone()
        worse[..., part] += 3 * torch.randn(worse[..., part].shape)
        assert loss(worse) > loss(truth) + 0.01, part
    assert loss_of(arch, detection_batch(arch), 0.1)(truth) > loss(truth)


def test_detection_loss_is_small_where_nothing_is_detected_on_empty_images(arch):
    batch = detection_batch(arch, torch.zeros(0, 6))
    outputs = build(arch)(batch.images)
    loss = loss_of(arch, batch)(outputs)
    loss.backward()
    quiet = torch.full_like(outputs, -20.0)
    assert loss_of(arch, batch)(quiet) < 1e-3 < loss


def test_detection_distillation_loss_is_least_for_the_teachers_outputs(arch):
    theirs = torch.randn(2, 20, 8)
    own = theirs.clone().requires_grad_()
    distillation_loss = DetectionDistillationLoss(temperature=2.0)
    targets = distillation_loss.targets(theirs)
    loss = distillation_loss(own, targets)
    loss.backward()
    assert own.grad.abs().max() < 1e-6
    assert distillation_loss(torch.randn(2, 20, 8), targets) > loss


def test_detection_loss_trains_a_detector(detectors):
    """A few images by heart."""
    arch = detectors.max()
    torch.manual_seed(0)
    batch = detection_batch(arch, images=3)
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
    detected = detections(net(batch.images).detach(), arch)
    truth = [OBJECTS[OBJECTS[:, 0] == i, 1:] for i in range(3)]
    assert average_precision(detected, truth, NUM_CLASSES).ap50 > 90


def test_detection_distillation_refuses_a_teacher_of_other_feature_maps(arch):
    other = replace(arch, head=replace(arch.detector, levels=2))
    TASKS["detect"].check_teacher(arch, arch)
    with pytest.raises(InputError, match=r"the strides \(16, 32\), the network \(8, 16, 32\); choose another teacher"):
        TASKS["detect"].check_teacher(other, arch)


def test_detection_loss_of_a_head_with_fewer_maps_is_that_of_its_own(arch):
    fewer = replace(arch, head=replace(arch.detector, levels=2))
    batch = detection_batch(arch)
    outputs = build(fewer)(batch.images)
    assert torch.equal(loss_of(arch, batch)(outputs), loss_of(fewer, batch)(outputs))


def test_detection_distillation_loss_of_fewer_maps_learns_from_the_first_predictions():
    theirs = torch.randn(2, 20, 8)
    distillation_loss = DetectionDistillationLoss()
    targets = distillation_loss.targets(theirs)
    own = theirs[:, :5].clone().requires_grad_()
    distillation_loss(own, targets).backward()
    assert own.grad.abs().max() < 1e-6
