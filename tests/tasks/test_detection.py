from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from boxes import OBJECTS, perfect_outputs
from tinynas import build
from tinynas.tasks.detection import DetectorWithNMS, anchor_grid, decode, decode_with_nms, detections


def test_anchor_grid_matches_the_outputs(detectors, rng):
    for arch in [detectors.min(), detectors.max(), *(detectors.sample(rng) for _ in range(5))]:
        outputs = build(arch)(torch.zeros(2, 1, arch.resolution, arch.resolution))
        at = anchor_grid(arch.detector, arch.resolution)
        assert outputs.shape == (2, len(at.cell), 5 + arch.classes)
        assert all(len(part) == len(at.cell) for part in at)


def test_anchor_grid_does_not_mix_rows_and_columns(arch):
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


def test_detections_recover_the_objects_of_perfect_outputs(arch):
    detected = detections(perfect_outputs(arch, OBJECTS), arch.detector, arch.resolution, threshold=0.5)
    assert [len(image.boxes) for image in detected] == [2, 0, 2]
    for i, image in enumerate(detected):
        objects = OBJECTS[OBJECTS[:, 0] == i]
        for label, box in zip(objects[:, 1], objects[:, 2:], strict=True):
            overlaps = box_iou(box[None], image.boxes)[0]
            assert overlaps.max() > 0.99
            assert image.classes[overlaps.argmax()] == label


def test_nms_merges_overlapping_boxes_of_a_class(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    outputs = perfect_outputs(arch, OBJECTS[:1])[0]
    merged = decode_with_nms(outputs, at, threshold=0.5)
    assert len(merged.boxes) == 1
    other = outputs.clone()
    place = outputs[:, 4].argmax()
    other[place, 5:] = 12  # all classes at once: these do not suppress one another
    assert sorted(decode_with_nms(other, at, threshold=0.5).classes.tolist()) == [0, 1, 2]
    assert (merged.boxes >= 0).all()
    assert (merged.boxes <= 1).all()
    module = DetectorWithNMS(torch.nn.Identity(), arch)
    assert all(torch.equal(a, b) for a, b in zip(module(outputs[None]), decode_with_nms(outputs, at), strict=True))


def test_decode_gives_boxes_the_shape_of_their_anchors(arch):
    at = anchor_grid(arch.detector, arch.resolution)
    boxes = decode(torch.zeros(1, len(at.cell), 8), at)[0]
    assert torch.allclose(boxes[:, 2:] - boxes[:, :2], at.anchor + 1e-3)
    assert torch.allclose((boxes[:, 2:] + boxes[:, :2]) / 2, at.corner + at.cell / 2)


@pytest.mark.parametrize("resolution", [64, 80, 96, 112])
def test_anchor_grid_aligns_cells_with_feature_maps(arch, resolution):
    """At every image size a stride apart: a coarse cell begins where two fine ones do."""
    at, head = anchor_grid(arch.detector, resolution), arch.detector
    fine, coarse = -(-resolution // 16), -(-resolution // 32)
    corners = at.corner[: fine**2].view(fine, fine, 2)
    below = at.corner[head.per_cell * fine**2 :][: coarse**2].view(coarse, coarse, 2)
    assert torch.allclose(corners[::2, ::2], below)
    assert torch.allclose(corners[1, 1] - corners[0, 0], torch.tensor([16 / resolution] * 2))
    assert torch.allclose(at.cell[0] * resolution, torch.tensor([16.0]))
    assert torch.allclose(at.cell[-1] * resolution, torch.tensor([32.0]))
