from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from boxes import OBJECTS, perfect_outputs
from tinynas import build
from tinynas.tasks.detection import (
    Detections,
    DetectorWithNMS,
    decode,
    decode_with_nms,
    detections,
    distinct,
    positions_of,
)


def test_positions_match_the_outputs(detectors, rng):
    for arch in [detectors.min(), detectors.max(), *(detectors.sample(rng) for _ in range(5))]:
        outputs = build(arch)(torch.zeros(2, 1, arch.resolution, arch.resolution))
        at = positions_of(arch, arch.resolution)
        assert outputs.shape == (2, len(at.centre), 4 + arch.classes)
        assert at.stride.shape == (len(at.centre), 1)


def test_a_head_of_fewer_maps_predicts_at_the_first_positions(arch):
    fewer = replace(arch, head=replace(arch.detector, levels=arch.detector.levels - 1))
    few, all_of_them = positions_of(fewer, 64), positions_of(arch, 64)
    assert len(few.centre) < len(all_of_them.centre)
    for part, of_all in zip(few, all_of_them.first(len(few.centre)), strict=True):
        assert torch.equal(part, of_all)


def test_positions_do_not_mix_rows_and_columns(arch):
    """Rows and columns are not mixed up."""
    torch.manual_seed(1)
    arch = replace(arch, resolution=256)
    net = build(arch).eval()
    images = torch.zeros(1, 1, 256, 256)
    with torch.no_grad():
        before = net(images)
        images[:, :, 192:, :48] = 5  # left, bottom
        changed = (net(images) - before).abs().sum(-1)[0]
    at = positions_of(arch, 256)
    fine = at.stride[:, 0] == at.stride.min()
    most = at.centre[fine][changed[fine].argmax()]
    assert most[0] < 0.3
    assert most[1] > 0.6


def test_detections_recover_the_objects_of_perfect_outputs(arch):
    detected = detections(perfect_outputs(arch, OBJECTS), arch, threshold=0.5)
    assert [len(image.boxes) for image in detected] == [2, 0, 2]
    for i, image in enumerate(detected):
        objects = OBJECTS[OBJECTS[:, 0] == i]
        for label, box in zip(objects[:, 1], objects[:, 2:], strict=True):
            overlaps = box_iou(box[None], image.boxes)[0]
            assert overlaps.max() > 0.99
            assert image.classes[overlaps.argmax()] == label


def test_nms_merges_overlapping_boxes_of_a_class(arch):
    at = positions_of(arch, arch.resolution)
    outputs = perfect_outputs(arch, OBJECTS[:1])[0]
    merged = decode_with_nms(outputs, at, threshold=0.5)
    assert len(merged.boxes) == 1
    other = outputs.clone()
    place = outputs[:, 4:].amax(1).argmax()
    other[place, 4:] = 12  # all classes at once: these do not suppress one another
    assert sorted(decode_with_nms(other, at, threshold=0.5).classes.tolist()) == [0, 1, 2]
    assert (merged.boxes >= 0).all()
    assert (merged.boxes <= 1).all()
    module = DetectorWithNMS(torch.nn.Identity(), arch)
    assert all(torch.equal(a, b) for a, b in zip(module(outputs[None]), decode_with_nms(outputs, at), strict=True))


def test_equal_scores_are_taken_in_the_order_of_the_outputs(arch):
    """As every runtime takes them: PyTorch's topk would take any."""
    at = positions_of(arch, arch.resolution)
    outputs = torch.full((len(at.centre), 4 + arch.classes), -9.0)  # all boxes so small that none overlap
    outputs[:, 4:] = 2.0
    detected = decode_with_nms(outputs, at)
    expected = torch.arange(100)
    assert torch.equal(detected.classes, expected % arch.classes)
    centres = (detected.boxes[:, :2] + detected.boxes[:, 2:]) / 2
    torch.testing.assert_close(centres, at.centre[expected // arch.classes])


def test_decode_measures_distances_in_strides(arch):
    at = positions_of(arch, arch.resolution)
    outputs = torch.zeros(1, len(at.centre), 7)
    outputs[..., :4] = (torch.tensor([1.0, 2.0, 3.0, 4.0]) - 0.01).expm1().log()
    boxes = decode(outputs, at)[0]
    assert torch.allclose(boxes[:, :2], at.centre - torch.tensor([1.0, 2.0]) * at.stride, atol=1e-5)
    assert torch.allclose(boxes[:, 2:], at.centre + torch.tensor([3.0, 4.0]) * at.stride, atol=1e-5)


@pytest.mark.parametrize("resolution", [64, 80, 96, 112])
def test_positions_align_with_feature_maps(arch, resolution):
    """At every image size a stride apart: a coarse cell's middle is that of the four fine ones in it."""
    at = positions_of(arch, resolution)
    strides = (at.stride[:, 0] * resolution).round().int()
    first = 0
    for stride in (32, 16, 8):
        side = -(-resolution // stride)
        assert (strides[first : first + side**2] == stride).all()
        centres = at.centre[first : first + side**2].view(side, side, 2) * resolution
        assert torch.allclose(centres[0, 0], torch.full((2,), stride / 2))
        assert torch.allclose(centres[0, 1] - centres[0, 0], torch.tensor([stride, 0.0]))
        assert torch.allclose(centres[1, 0] - centres[0, 0], torch.tensor([0.0, stride]))
        first += side**2
    assert first == len(strides)


def test_distinct_detections_have_one_class_for_an_object():
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.49], [0.1, 0.1, 0.5, 0.3], [0.6, 0.6, 0.9, 0.9]])
    detected = Detections(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 0, 2, 1]))
    kept = distinct(detected)
    assert kept.classes.tolist() == [1, 2, 1]
    assert torch.equal(kept.boxes, boxes[[0, 2, 3]])
