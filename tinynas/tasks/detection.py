"""Boxes: what a detector's outputs mean, what it learns from, and which anchors suit a data set.

Boxes are (x1, y1, x2, y2) in 0..1 of the image's sides. Objects are the rows of a batch's labels, (M, 6): number of the
image in the batch, class, box. Outputs are (N, P, 5 + classes) as `DetectionHead` gives them.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from ..arch.arch import Arch, DetectorHead

_STRIDES = (16, 32)
_MOST = 100  # detections of an image
_CANDIDATES = 300  # of an image, before suppression
_OVERLAP = 0.5  # IoU from which the weaker of two boxes of a class is left out
_LEAST = 1e-3  # added to the sides of boxes: the loss of one without a side has no gradient


class Places(NamedTuple):
    """Where the P predictions of a detector are."""

    corner: Tensor  # (P, 2) of the cell, x and y, in 0..1
    cell: Tensor  # (P, 1), its side
    anchor: Tensor  # (P, 2), width and height


@lru_cache(maxsize=64)
def places(head: DetectorHead, resolution: int) -> Places:
    """In the order of the outputs: level, anchor, row, column.

    A cell is as large as its stride, at every resolution; the last ones may lie partly outside the image.
    """
    sides = torch.tensor(head.anchors).view(len(_STRIDES), head.per_cell, 2)
    corners, cells, anchors = [], [], []
    for level, stride in enumerate(_STRIDES):
        side = -(-resolution // stride)
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        grid = torch.stack([x, y], -1).view(1, -1, 2) * (stride / resolution)
        corners.append(grid.expand(head.per_cell, -1, 2).reshape(-1, 2))
        cells.append(torch.full((head.per_cell * side**2, 1), stride / resolution))
        anchors.append(sides[level][:, None].expand(-1, side**2, 2).reshape(-1, 2))
    return Places(torch.cat(corners), torch.cat(cells), torch.cat(anchors))


def decode(outputs: Tensor, at: Places) -> Tensor:
    """The boxes (..., P, 4) of outputs (..., P, 5 + classes), which may lie partly outside the image.

    Centres are within their cells or half a cell beside, sides up to 4 times the anchor's: bounded, and so steadier
    than YOLOv3's exponential (Wang, Bochkovskiy and Liao, CVPR 2021).
    """
    centre = at.corner.to(outputs) + at.cell.to(outputs) * (2 * outputs[..., :2].sigmoid() - 0.5)
    half = (at.anchor.to(outputs) * (2 * outputs[..., 2:4].sigmoid()).square() + _LEAST) / 2
    return torch.cat([centre - half, centre + half], -1)


class Found(NamedTuple):
    """The detections of one image, the surest first."""

    boxes: Tensor  # (K, 4), within the image
    scores: Tensor  # (K,), 0..1
    classes: Tensor  # (K,)


def suppressed(outputs: Tensor, at: Places, *, threshold: float = 0.01) -> Found:
    """What the outputs of one image, (P, 5 + classes), amount to: at most 100 boxes.

    Scores are objectness times class probability, over the threshold; the weaker of two boxes of one class that overlap
    (IoU over 0.5) is left out.
    """
    scores = outputs[:, 4:5].sigmoid() * outputs[:, 5:].sigmoid()  # (P, classes)
    sure, index = scores.flatten().topk(min(_CANDIDATES, scores.numel()))
    classes = index % scores.shape[1]
    boxes = decode(outputs, at).clamp(0, 1)[index // scores.shape[1]]
    apart = boxes + 2 * classes[:, None]  # boxes of different classes never overlap
    kept = nms(apart, sure, _OVERLAP)[:_MOST]
    kept = kept[sure[kept] > threshold]
    return Found(boxes[kept], sure[kept], classes[kept])


def detections(outputs: Tensor, head: DetectorHead, resolution: int, *, threshold: float = 0.01) -> list[Found]:
    """Of each image of the outputs (N, P, 5 + classes)."""
    return [suppressed(of_image, places(head, resolution), threshold=threshold) for of_image in outputs]


class WithSuppression(nn.Module):
    """A detector that gives boxes: image (1, C, H, W) -> boxes (K, 4), scores (K,), classes (K,)."""

    def __init__(self, net: nn.Module, arch: Arch) -> None:
        super().__init__()
        self.net = net
        for name, part in places(arch.detector, arch.resolution)._asdict().items():
            self.register_buffer(name, part, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at = Places(*(self.get_buffer(name) for name in Places._fields))
        return tuple(suppressed(self.net(image)[0], at))  # type: ignore[return-value]
