"""Boxes: what a detector's outputs mean, what it learns from, and which anchors suit a data set.

Boxes are (x1, y1, x2, y2) in 0..1 of the image's sides. Objects are the rows of a batch's labels, (M, 6): number of the
image in the batch, class, box. Outputs are (N, P, 5 + classes) as `nets.DetectorHead` gives them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot, smooth_l1_loss
from torchvision.ops import complete_box_iou_loss, nms

from .arch import Arch, DetectorHead
from .boxes import BoxSplit
from .choices import DetectorChoices
from .data import Batch, Data
from .errors import require
from .objectives import Criterion

_STRIDES = (16, 32)
_MATCH = 0.35  # IoU of shapes from which an anchor is answerable for an object beside the best one
_MOST = 100  # detections of an image
_CANDIDATES = 300  # of an image, before suppression
_OVERLAP = 0.5  # IoU from which the weaker of two boxes of a class is left out
_LEAST = 1e-3  # added to the sides of boxes: the loss of one without a side has no gradient
_SURE = 0.1  # objectness from which a teacher's boxes and classes are learned
_BOX_WEIGHT = 1.0


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


def located(head: DetectorHead, smoothing: float = 0.0) -> Criterion:
    """What a batch's objects ask of a detector's outputs: boxes (complete IoU), objectness and classes (logistic).

    Zheng et al., AAAI 2020, for the boxes. The sum over all images, by the number of anchors answerable for an object.
    """

    def of_batch(batch: Batch) -> Callable[[Tensor], Tensor]:
        at = places(head, batch.images.shape[-1])
        rows, objects = answerable(batch.labels, at)
        images, classes = batch.labels[objects, :2].long().T
        boxes = batch.labels[objects, 2:]

        def loss(outputs: Tensor) -> Tensor:
            chosen = outputs[images, rows]  # (K, 5 + classes)
            wanted = torch.zeros_like(outputs[..., 4])
            wanted[images, rows] = 1
            label = one_hot(classes, outputs.shape[-1] - 5) * (1 - smoothing) + smoothing / (outputs.shape[-1] - 5)
            found = decode(chosen, Places(*(part.to(rows.device)[rows] for part in at)))
            parts = (
                _BOX_WEIGHT * complete_box_iou_loss(found, boxes, reduction="sum"),
                bce(outputs[..., 4], wanted, reduction="sum"),
                bce(chosen[:, 5:], label.to(outputs), reduction="sum"),
            )
            return torch.stack(parts).sum() / max(1, len(rows))

        return loss

    return of_batch


def answerable(objects: Tensor, at: Places) -> tuple[Tensor, Tensor]:
    """Which predictions are for which objects: places (K,) and rows of the objects (K,).

    Of each object, in the cell that holds its centre and those beside nearer than half a cell: the anchor whose
    shape is nearest to the object's, and all that are near.
    """
    corner, cell, anchor = (part.to(objects.device) for part in at)
    sides, centre = objects[:, 4:6] - objects[:, 2:4], (objects[:, 2:4] + objects[:, 4:6]) / 2  # (M, 2)
    common = torch.minimum(sides[:, None], anchor).prod(-1)
    overlap = common / (sides.prod(-1)[:, None] + anchor.prod(-1) - common)  # (M, P)
    alike = (overlap > _MATCH) | (overlap == overlap.amax(1, keepdim=True))
    distance = ((centre[:, None] - corner) / cell - 0.5).abs()  # (M, P, 2), in cells, from the middle of each
    near = (distance.amax(-1) <= 1) & (distance.amin(-1) <= 0.5)
    rows, place = (alike & near).nonzero(as_tuple=True)
    return place, rows


def boxes_imitated(theirs: Tensor, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What another detector's outputs ask of these: its objectness, and where it is sure its boxes and classes.

    The sum over all places, by the number of objects' places that it expects: so it weighs as much as labels do.
    """
    theirs = theirs.detach()
    expected = theirs[..., 4].sigmoid()
    sure = expected * (expected > _SURE)
    classes, objectness = (theirs[..., 5:] / temperature).sigmoid(), (theirs[..., 4] / temperature).sigmoid()

    def loss(own: Tensor) -> Tensor:
        boxes = smooth_l1_loss(own[..., :4], theirs[..., :4], reduction="none").sum(-1)
        of_class = bce(own[..., 5:] / temperature, classes, reduction="none").sum(-1)
        where = bce(own[..., 4] / temperature, objectness, reduction="none")
        parts = sure * (boxes + temperature**2 * of_class) + temperature**2 * where
        return parts.sum() / expected.sum().clamp(min=1)

    return loss


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


def detector_of(arch: Arch) -> Arch:
    """The arch with a detector's head in place of its classifier, as wide as its feature map of stride 16."""
    if isinstance(arch.head, DetectorHead):
        return arch
    strides = arch.strides()
    rule = "a detector is made of a network with stages of stride 16 and, the last, 32"
    require(16 in strides and strides[-1] == 32, rule, strides=strides)
    fine = max(s for s, stride in enumerate(strides) if stride == 16)
    return replace(arch, head=DetectorHead(width=arch.stages[fine][-1].out, act=arch.head.act))


WithAnchors = TypeVar("WithAnchors", DetectorHead, DetectorChoices)


def fit_anchors(head: WithAnchors, data: Data) -> WithAnchors:
    """The head, or choices of one, with the data's anchors in place of the default ones."""
    default = head.anchors == DetectorHead.anchors
    return replace(head, anchors=anchors_of(data, len(head.anchors) // 2)) if default else head


def anchors_of(data: Data, count: int) -> tuple[float, ...]:
    """Widths and heights that suit the training objects: the means of `count` clusters, the smallest first."""
    from sklearn.cluster import KMeans

    assert isinstance(data.train, BoxSplit)
    objects = torch.cat(list(data.train.objects))
    sides = (objects[:, 3:5] - objects[:, 1:3]).numpy()
    different = np.unique(sides.round(2), axis=0)
    if len(different) < count:
        means = np.resize(different, (count, 2))
    else:
        means = KMeans(count, n_init=4, random_state=0).fit(sides).cluster_centers_
    ordered = means[np.argsort(means.prod(1))]
    return tuple(round(float(side), 4) for side in ordered.ravel())
