"""Detector outputs: the positions that they refer to, decoding to boxes, non-maximum suppression.

Boxes are (x1, y1, x2, y2) in 0..1 of the image's sides. Outputs are (N, P, 4 + classes) as `DetectionHead` returns
them: P positions, for each four distances to the sides of a box, and the classes' logits.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..arch.arch import Arch
from ..arch.detector_head import SIDES

_MAX_DETECTIONS = 100  # of an image
_MAX_CANDIDATES = 300  # boxes of an image that enter non-maximum suppression
NMS_IOU = 0.5  # two boxes of a class that overlap by more count as one
_SAME_OBJECT_IOU = 0.7  # two boxes of different classes that overlap by more are taken for the same object
_CPU = torch.device("cpu")
_LEAST_DISTANCE = 0.01  # to a side, in strides: the IoU loss of a box without area has no gradient


class Positions(NamedTuple):
    """The P positions of a detector's predictions in an image."""

    centre: Tensor  # (P, 2), x and y, in 0..1
    stride: Tensor  # (P, 1), of their feature maps, in 0..1

    def first(self, count: int) -> "Positions":
        """Return the first positions: those of a head with fewer feature maps."""
        return Positions(self.centre[:count], self.stride[:count])


def positions_of(arch: Arch, resolution: int, device: torch.device = _CPU) -> Positions:
    """Return the positions at which a detector predicts, in images of `resolution` pixels."""
    return positions(arch.tapped_strides()[::-1], resolution, device)


@lru_cache(maxsize=64)
def positions(strides: tuple[int, ...], resolution: int, device: torch.device = _CPU) -> Positions:
    """Return the middles of the cells of feature maps with these strides, map by map and row by row.

    A cell is as large as its stride, at every resolution; the last ones may lie partly outside the image.
    """
    centres, sides = [], []
    for stride in strides:
        cells = -(-resolution // stride)
        y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        centres.append((torch.stack([x, y], -1).view(-1, 2) + 0.5) * (stride / resolution))
        sides.append(torch.full((cells**2, 1), stride / resolution))
    return Positions(centre=torch.cat(centres).to(device), stride=torch.cat(sides).to(device))


def decode(outputs: Tensor, at: Positions) -> Tensor:
    """Decode outputs (..., P, 4 + classes) to boxes (..., P, 4), which may lie partly outside the image.

    A distance to a side is softplus(output) + 0.01 times the position's stride: positive, and smooth where it is small.
    """
    distances = (softplus(outputs[..., :SIDES]) + _LEAST_DISTANCE) * at.stride.to(outputs)
    centre = at.centre.to(outputs)
    return torch.cat([centre - distances[..., :2], centre + distances[..., 2:]], -1)


class Detections(NamedTuple):
    """The detections of one image, in descending order of score."""

    boxes: Tensor  # (K, 4), within the image
    scores: Tensor  # (K,), 0..1
    classes: Tensor  # (K,)


def decode_with_nms(outputs: Tensor, at: Positions, *, threshold: float = 0.01) -> Detections:
    """Return the detections, at most 100, of one image's outputs (P, 4 + classes).

    Boxes that score no more than the threshold are dropped. Of two boxes of one class that overlap (IoU over 0.5), the
    one with the lower score is suppressed.
    """
    from torchvision.ops import nms

    logits = outputs[:, SIDES:]  # (P, classes)
    best, index = _largest(logits.flatten(), min(_MAX_CANDIDATES, logits.numel()))
    scores_of_candidates = best.sigmoid()
    classes = index % logits.shape[1]
    boxes = decode(outputs, at).clamp(0, 1)[index // logits.shape[1]]
    separated = boxes + 2 * classes[:, None]  # boxes of different classes never overlap
    kept = nms(separated, scores_of_candidates, NMS_IOU)[:_MAX_DETECTIONS]
    kept = kept[scores_of_candidates[kept] > threshold]
    return Detections(boxes[kept], scores_of_candidates[kept], classes[kept])


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values (V,), descending, and their indices; of equal ones the first, as ONNX's TopK has it."""
    if torch.onnx.is_in_onnx_export():
        return values.topk(count)  # PyTorch's own leaves equal ones in any order
    index = (values >= values.topk(count).values[-1]).nonzero()[:, 0]
    index = index[values[index].sort(descending=True, stable=True).indices[:count]]
    return values[index], index


def detections(outputs: Tensor, arch: Arch, *, threshold: float = 0.01) -> list[Detections]:
    """Return the detections of each image of outputs (N, P, 4 + classes)."""
    at = positions_of(arch, arch.height, outputs.device)
    return [decode_with_nms(of_image, at, threshold=threshold) for of_image in outputs]


def distinct(detected: Detections) -> Detections:
    """Return the detections of an image but those of objects that a better one takes for another class.

    They are the same object if their boxes overlap by an IoU over 0.7. For people who look at boxes: average precision
    counts each class by itself, and is higher with all of them.
    """
    from torchvision.ops import nms

    kept = nms(detected.boxes, detected.scores, _SAME_OBJECT_IOU)
    return Detections(detected.boxes[kept], detected.scores[kept], detected.classes[kept])


class DetectorWithNMS(nn.Module):
    """A detector that returns boxes: image (1, C, H, W) -> boxes (K, 4), scores (K,), classes (K,)."""

    centre: Tensor
    stride: Tensor

    def __init__(self, net: nn.Module, arch: Arch) -> None:
        super().__init__()
        self.net = net
        for name, part in positions_of(arch, arch.height)._asdict().items():
            self.register_buffer(name, part, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, classes = decode_with_nms(self.net(image)[0], Positions(self.centre, self.stride))
        return boxes, scores, classes
