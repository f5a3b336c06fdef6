"""Detector outputs: the anchor grid they refer to, decoding to boxes, non-maximum suppression.

Boxes are (x1, y1, x2, y2) in 0..1 of the image's sides. Objects are the rows of a batch's labels, (M, 6): index of the
image in the batch, class, box. Outputs are (N, P, 5 + classes) as `DetectionHead` returns them.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.heads import DetectorHead

STRIDES = (16, 32)
_MAX_DETECTIONS = 100  # of an image
_MAX_CANDIDATES = 300  # boxes of an image that enter non-maximum suppression
SCORE_THRESHOLD = 0.3  # that a box must exceed by default
NMS_IOU = 0.5  # two boxes of a class that overlap by more count as one
_CPU = torch.device("cpu")
_MIN_SIDE = 1e-3  # added to the sides of boxes: the IoU loss of a box without area has no gradient


class AnchorGrid(NamedTuple):
    """The cell and the anchor of each of a detector's P predictions."""

    corner: Tensor  # (P, 2), x and y of the cell's left top corner, in 0..1
    cell: Tensor  # (P, 1), side of the cell
    anchor: Tensor  # (P, 2), width and height

    def take(self, index: Tensor) -> "AnchorGrid":
        """Return the rows at `index` (K,)."""
        return AnchorGrid(corner=self.corner[index], cell=self.cell[index], anchor=self.anchor[index])


@lru_cache(maxsize=64)
def anchor_grid(head: DetectorHead, resolution: int, device: torch.device = _CPU) -> AnchorGrid:
    """Return the anchor grid for images of `resolution` pixels, on a device.

    Its order is that of the outputs: level, anchor, row, column. A cell is as large as its stride, at every resolution;
    the last ones may lie partly outside the image.
    """
    sides = torch.tensor(head.anchors).view(len(STRIDES), head.per_cell, 2)
    corners, cells, anchors = [], [], []
    for level, stride in enumerate(STRIDES):
        side = -(-resolution // stride)
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        grid = torch.stack([x, y], -1).view(1, -1, 2) * (stride / resolution)
        corners.append(grid.expand(head.per_cell, -1, 2).reshape(-1, 2))
        cells.append(torch.full((head.per_cell * side**2, 1), stride / resolution))
        anchors.append(sides[level][:, None].expand(-1, side**2, 2).reshape(-1, 2))
    parts = [torch.cat(part).to(device) for part in (corners, cells, anchors)]
    return AnchorGrid(corner=parts[0], cell=parts[1], anchor=parts[2])


def decode(outputs: Tensor, grid: AnchorGrid) -> Tensor:
    """Decode outputs (..., P, 5 + classes) to boxes (..., P, 4), which may lie partly outside the image.

    Centres are within their cells or half a cell beside, sides up to 4 times the anchor's: bounded, and so steadier
    than YOLOv3's exponential (Wang, Bochkovskiy and Liao, CVPR 2021).
    """
    centre = grid.corner.to(outputs) + grid.cell.to(outputs) * (2 * outputs[..., :2].sigmoid() - 0.5)
    half = (grid.anchor.to(outputs) * (2 * outputs[..., 2:4].sigmoid()).square() + _MIN_SIDE) / 2
    return torch.cat([centre - half, centre + half], -1)


class Detections(NamedTuple):
    """The detections of one image, in descending order of score."""

    boxes: Tensor  # (K, 4), within the image
    scores: Tensor  # (K,), 0..1
    classes: Tensor  # (K,)


def decode_with_nms(outputs: Tensor, grid: AnchorGrid, *, threshold: float = 0.01) -> Detections:
    """Return the detections, at most 100, of one image's outputs (P, 5 + classes).

    Scores are objectness times class probability; boxes that score no more than the threshold are dropped. Of two boxes
    of one class that overlap (IoU over 0.5), the one with the lower score is suppressed.
    """
    from torchvision.ops import nms

    scores = outputs[:, 4:5].sigmoid() * outputs[:, 5:].sigmoid()  # (P, classes)
    scores_of_candidates, index = scores.flatten().topk(min(_MAX_CANDIDATES, scores.numel()))
    classes = index % scores.shape[1]
    boxes = decode(outputs, grid).clamp(0, 1)[index // scores.shape[1]]
    separated = boxes + 2 * classes[:, None]  # boxes of different classes never overlap
    kept = nms(separated, scores_of_candidates, NMS_IOU)[:_MAX_DETECTIONS]
    kept = kept[scores_of_candidates[kept] > threshold]
    return Detections(boxes[kept], scores_of_candidates[kept], classes[kept])


def detections(outputs: Tensor, head: DetectorHead, resolution: int, *, threshold: float = 0.01) -> list[Detections]:
    """Return the detections of each image of outputs (N, P, 5 + classes)."""
    grid = anchor_grid(head, resolution, outputs.device)
    return [decode_with_nms(of_image, grid, threshold=threshold) for of_image in outputs]


class DetectorWithNMS(nn.Module):
    """A detector that returns boxes: image (1, C, H, W) -> boxes (K, 4), scores (K,), classes (K,)."""

    corner: Tensor
    cell: Tensor
    anchor: Tensor

    def __init__(self, net: nn.Module, arch: Arch) -> None:
        super().__init__()
        self.net = net
        for name, part in anchor_grid(arch.detector, arch.height)._asdict().items():
            self.register_buffer(name, part, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grid = AnchorGrid(self.corner, self.cell, self.anchor)
        boxes, scores, classes = decode_with_nms(self.net(image)[0], grid)
        return boxes, scores, classes
