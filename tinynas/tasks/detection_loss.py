"""The detection loss, the assignment of anchors to objects, and distillation of detectors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot, smooth_l1_loss
from torchvision.ops import complete_box_iou_loss

from ..arch.arch import DetectorHead
from ..data.base import Batch
from .detection import Places, decode, places
from .losses import Criterion

_MATCH = 0.35  # IoU of shapes from which an anchor is answerable for an object beside the best one
_SURE = 0.1  # objectness from which a teacher's boxes and classes are learned
_BOX_WEIGHT = 1.0


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
